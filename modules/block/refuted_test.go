package block_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// refuted returns evidence that the block of a height has another app hash than
// execution came to.
func refuted(height uint64, want []byte) (block.Genesis, block.Evidence) {
	c := testutil.NewChain("refuted")
	c.Root = func(uint64) []byte { return []byte("claimed") }
	blocks := c.Blocks(int(height), 1)
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	e := block.Evidence{
		Second:  block.Sighting{Header: blocks[height-1].Header, Source: block.SourceP2P, At: at},
		Refuted: block.NewRefutation(block.ErrWrongAppHash, want, "kv"),
	}
	if height > 1 {
		e.First = block.Sighting{Header: blocks[height-2].Header, Source: block.SourceDA, DAHeight: 3, At: at}
	}
	return c.Genesis, e
}

func TestRefutedHeaderIsEvidence(t *testing.T) {
	for _, height := range []uint64{1, 4} {
		for _, want := range [][]byte{[]byte("computed"), nil, bytes.Repeat([]byte("x"), 3*block.MaxWant)} {
			g, e := refuted(height, want)
			decoded, err := block.DecodeEvidence(e.Encode())
			require.NoError(t, err)
			text, err := json.Marshal(e)
			require.NoError(t, err)
			require.Contains(t, string(text), `"kind":"refuted"`)
			var exported block.Evidence
			require.NoError(t, json.Unmarshal(text, &exported))
			for _, got := range []block.Evidence{e, decoded, exported} {
				require.NoError(t, got.Verify(g))
				require.Equal(t, height, got.Height())
				require.Equal(t, e.ID(), got.ID())
				require.Equal(t, e.Encode(), got.Encode())
				require.LessOrEqual(t, len(got.Refuted.Want), block.MaxWant)
			}
		}
	}
}

// What execution refuses, and what was left out, is kept, exported and verified too.
func TestRefusedDataAndForcedTransactionsAreEvidence(t *testing.T) {
	g, e := refuted(4, nil)
	tx := block.Sum([]byte("forced"))
	ids := map[block.Hash]bool{}
	for _, r := range []*block.Refutation{
		block.NewRefutation(block.ErrRefusedData, []byte("transaction 3 overdraws"), "kv"),
		{Rule: block.ErrForcedLeftOut, WantHash: tx, Executor: "kv", Forced: &block.LeftOut{DAHeight: 7, Index: 2, Epochs: 4}},
		{Rule: block.ErrForcedLeftOut, WantHash: block.Sum(nil), Forced: &block.LeftOut{}},
	} {
		e.Refuted = r
		decoded, err := block.DecodeEvidence(e.Encode())
		require.NoError(t, err)
		text, err := json.Marshal(e)
		require.NoError(t, err)
		var exported block.Evidence
		require.NoError(t, json.Unmarshal(text, &exported))
		for _, got := range []block.Evidence{e, decoded, exported} {
			require.NoError(t, got.Verify(g))
			require.Equal(t, e.ID(), got.ID())
			require.Equal(t, r.Forced, got.Refuted.Forced)
			require.Equal(t, e.Encode(), got.Encode())
		}
		require.False(t, ids[e.ID()], "a block may leave out several")
		ids[e.ID()] = true
	}
	e.Refuted = &block.Refutation{Rule: block.ErrForcedLeftOut, WantHash: tx}
	require.ErrorIs(t, e.Verify(g), block.ErrNotForced)
}

func TestRefutationThatProvesNothing(t *testing.T) {
	g, e := refuted(4, []byte("computed"))
	for name, tt := range map[string]struct {
		change func(*block.Evidence)
		want   error
	}{
		"the value was right": {func(e *block.Evidence) {
			e.Refuted = block.NewRefutation(block.ErrWrongAppHash, []byte("claimed"), "kv")
		}, block.ErrNotRefuted},
		"a rule anybody can check": {func(e *block.Evidence) { e.Refuted.Rule = block.ErrBrokenLink }, block.ErrUnknownRule},
		"no header before":         {func(e *block.Evidence) { e.First.Header = nil }, block.ErrWrongHeight},
		"follows another header":   {func(e *block.Evidence) { _, o := evidence(t); e.First.Header = o.First.Header }, block.ErrWrongChain},
		"no header":                {func(e *block.Evidence) { e.Second.Header = nil }, block.ErrNoPair},
		"signed by somebody else": {func(e *block.Evidence) {
			e.Second.Header = testutil.Sign(testutil.Key("stranger"), e.Second.Header.Header)
		}, block.ErrProposerNotSigner},
		"the header before is fake": {func(e *block.Evidence) { e.First.Header = testutil.Sign(testutil.Key("x"), e.First.Header.Header) }, block.ErrProposerNotSigner},
	} {
		t.Run(name, func(t *testing.T) {
			bad := e
			copied := *e.Refuted
			bad.Refuted = &copied
			tt.change(&bad)
			require.ErrorIs(t, bad.Verify(g), tt.want)
		})
	}
}
