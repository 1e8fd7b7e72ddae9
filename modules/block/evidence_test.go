package block_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func evidence(tb testing.TB) (block.Genesis, block.Evidence) {
	tb.Helper()
	c := testutil.NewChain("evidence")
	c.Blocks(3, 1)
	f := c.Fork()
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	return c.Genesis, block.Evidence{
		First:  block.Sighting{Header: c.Next([]byte("a")).Header, Source: block.SourceP2P, Peer: "12D3KooW", At: at},
		Second: block.Sighting{Header: f.Next([]byte("b")).Header, Source: block.SourceDA, DAHeight: 77, At: at},
	}
}

func TestEvidenceKeepsAllAndVerifiesOffline(t *testing.T) {
	g, e := evidence(t)
	require.Equal(t, uint64(4), e.Height())
	decoded, err := block.DecodeEvidence(e.Encode())
	require.NoError(t, err)
	text, err := json.Marshal(e)
	require.NoError(t, err)
	var exported block.Evidence
	require.NoError(t, json.Unmarshal(text, &exported))
	for _, got := range []block.Evidence{e, decoded, exported} {
		require.NoError(t, got.Verify(g))
		require.Equal(t, e.ID(), got.ID())
		require.Equal(t, e.Encode(), got.Encode())
	}
	require.Equal(t, e.ID(), block.Evidence{First: e.Second, Second: e.First}.ID(), "the order does not matter")
}

func TestEvidenceThatProvesNothing(t *testing.T) {
	g, good := evidence(t)
	resign := func(name string, change func(*block.Header)) *block.SignedHeader {
		h := good.Second.Header.Header
		change(&h)
		return testutil.Sign(testutil.Key(name), h)
	}
	stranger := block.NewSigner(resign("stranger", func(*block.Header) {}).Signer.RawPubKey()).Address
	other := testutil.NewChain("other").Genesis
	tests := map[string]struct {
		second *block.SignedHeader
		g      block.Genesis
		want   error
	}{
		"one header":       {nil, g, block.ErrNoPair},
		"the same header":  {good.First.Header, g, block.ErrSamePair},
		"another height":   {resign("proposer", func(h *block.Header) { h.Height++ }), g, block.ErrWrongHeight},
		"another chain":    {good.Second.Header, other, block.ErrWrongChain},
		"chain of one":     {resign("proposer", func(h *block.Header) { h.ChainID = "x" }), g, block.ErrWrongChain},
		"forged signature": {resign("stranger", func(*block.Header) {}), g, block.ErrProposerNotSigner},
		"other proposer":   {resign("stranger", func(h *block.Header) { h.ProposerAddress = stranger }), g, block.ErrUnexpectedProposer},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := good
			e.Second.Header = tt.second
			require.ErrorIs(t, e.Verify(tt.g), tt.want)
		})
	}
	h := good.Second.Header
	bad := append([]byte(nil), h.Signature...)
	bad[3] ^= 1
	good.Second.Header = block.NewSignedHeader(h.Header, bad, h.Signer)
	require.ErrorIs(t, good.Verify(g), block.ErrBadSignature)
}

func TestRevertRecord(t *testing.T) {
	_, e := evidence(t)
	r := block.Revert{To: 3, DACursor: 70, Header: e.Second.Header, DAHeight: 77}
	got, err := block.DecodeRevert(r.Encode())
	require.NoError(t, err)
	require.Equal(t, r.Encode(), got.Encode())
	r.To = 2
	_, err = block.DecodeRevert(r.Encode())
	require.ErrorContains(t, err, "not of the height")
	r.Header = nil
	got, err = block.DecodeRevert(r.Encode())
	require.NoError(t, err)
	require.Equal(t, r, got)
}

func FuzzEvidence(f *testing.F) {
	_, e := evidence(f)
	f.Add(e.Encode())
	f.Add(block.Revert{To: 3, Header: e.First.Header}.Encode())
	_, r := refuted(4, []byte("computed"))
	f.Add(r.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := block.DecodeEvidence(b); err == nil {
			again, err := block.DecodeEvidence(e.Encode())
			require.NoError(t, err)
			require.Equal(t, e.ID(), again.ID())
		}
		_, _ = block.DecodeRevert(b)
		var e block.Evidence
		_ = json.Unmarshal(b, &e)
	})
}
