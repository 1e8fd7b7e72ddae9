package block_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// TestInvariant1_Linked breaks one thing at a time in a valid block and expects
// the rule that guards it.
func TestInvariant1_Linked(t *testing.T) {
	chain := testutil.NewChain("c")
	chain.Root = func(uint64) []byte { return []byte("root") }
	first := chain.Next([]byte("a=1"))
	second := chain.Next([]byte("b=2"))
	now := second.Header.Time()
	before := block.GenesisState(chain.Genesis, []byte("root")).
		Next(first.Header, block.ExecResult{StateRoot: []byte("root")})
	require.NoError(t, block.Verify(before, second, now))
	stranger := testutil.Key("stranger")

	resign := func(change func(*block.Header)) block.Block {
		h := second.Header.Header
		change(&h)
		return block.Block{Header: testutil.Sign(chain.Key, h), Data: second.Data}
	}
	withData := func(change func(*block.Metadata)) block.Block {
		m := *second.Data.Metadata
		change(&m)
		return block.Block{Header: second.Header, Data: block.NewData(&m, second.Data.Txs)}
	}
	rewrap := func(change func(*block.SignedHeader)) block.Block {
		h := block.NewSignedHeader(second.Header.Header, second.Header.Signature, second.Header.Signer)
		change(h)
		return block.Block{Header: h, Data: second.Data}
	}
	tests := map[block.Rule]block.Block{
		block.ErrNoProposer:   resign(func(h *block.Header) { h.ProposerAddress = nil }),
		block.ErrZeroTime:     resign(func(h *block.Header) { h.Time = 0 }),
		block.ErrFutureTime:   resign(func(h *block.Header) { h.Time += uint64(block.MaxFuture) + 1 }),
		block.ErrBadLength:    resign(func(h *block.Header) { h.DataHash = []byte{1} }),
		block.ErrNoSignature:  rewrap(func(h *block.SignedHeader) { h.Signature = nil }),
		block.ErrNoPubKey:     rewrap(func(h *block.SignedHeader) { h.Signer.PubKey = nil }),
		block.ErrBadPubKey:    rewrap(func(h *block.SignedHeader) { h.Signer.PubKey = []byte{8, 2, 18, 1, 0} }),
		block.ErrWrongSigner:  rewrap(func(h *block.SignedHeader) { h.Signer.Address = make([]byte, 32) }),
		block.ErrBadSignature: rewrap(func(h *block.SignedHeader) { h.Signature = make([]byte, 64) }),
		block.ErrProposerNotSigner: rewrap(func(h *block.SignedHeader) {
			h.Signer = block.NewSigner(stranger.Public().(ed25519.PublicKey))
		}),
		block.ErrUnexpectedProposer: func() block.Block {
			h := second.Header.Header
			h.ProposerAddress = block.NewSigner(stranger.Public().(ed25519.PublicKey)).Address
			return block.Block{Header: testutil.Sign(stranger, h), Data: second.Data}
		}(),
		block.ErrWrongChain:      resign(func(h *block.Header) { h.ChainID = "other" }),
		block.ErrWrongHeight:     resign(func(h *block.Header) { h.Height++ }),
		block.ErrTimeBackwards:   resign(func(h *block.Header) { h.Time = first.Header.Header.Time - 1 }),
		block.ErrBrokenLink:      resign(func(h *block.Header) { h.LastHeaderHash = make([]byte, 32) }),
		block.ErrWrongAppHash:    resign(func(h *block.Header) { h.AppHash = []byte("other") }),
		block.ErrNoMetadata:      {Header: second.Header, Data: block.NewData(nil, second.Data.Txs)},
		block.ErrDataChain:       withData(func(m *block.Metadata) { m.ChainID = "other" }),
		block.ErrDataHeight:      withData(func(m *block.Metadata) { m.Height++ }),
		block.ErrDataTime:        withData(func(m *block.Metadata) { m.Time++ }),
		block.ErrWrongCommitment: {Header: second.Header, Data: block.NewData(second.Data.Metadata, nil)},
	}
	for rule, b := range tests {
		t.Run(string(rule), func(t *testing.T) {
			err := block.Verify(before, b, now)
			require.ErrorIs(t, err, rule)
			var v *block.Violation
			require.ErrorAs(t, err, &v)
		})
	}
	require.ErrorIs(t, block.VerifyDataLink(second.Data, make([]byte, 32)), block.ErrBrokenDataLink)
	require.NoError(t, block.VerifyDataLink(second.Data, first.Data.Hash()))
}

func TestVerifyLink(t *testing.T) {
	bs := testutil.NewChain("c").Blocks(3, 0)
	require.NoError(t, block.VerifyLink(bs[0].Header, bs[1].Header))
	require.ErrorIs(t, block.VerifyLink(bs[0].Header, bs[2].Header), block.ErrWrongHeight)
	require.NoError(t, bs[0].Header.Verify(bs[2].Header), "go-header may ask about heights far apart")
	other := testutil.NewChain("c")
	other.Key = testutil.Key("other")
	fork := other.Blocks(2, 1)
	require.ErrorIs(t, block.VerifyLink(bs[0].Header, fork[1].Header), block.ErrBrokenLink)
	require.ErrorIs(t, bs[0].Header.Verify(fork[1].Header), block.ErrBrokenLink)
	require.NoError(t, bs[0].Data.Verify(bs[1].Data))
	require.ErrorIs(t, bs[0].Data.Verify(fork[1].Data), block.ErrBrokenDataLink)
}

func TestFirstBlock(t *testing.T) {
	chain := testutil.NewChain("c")
	first := chain.Next()
	genesis := block.GenesisState(chain.Genesis, nil)
	require.False(t, genesis.Started())
	require.Equal(t, uint64(1), genesis.NextHeight())
	require.NoError(t, block.Verify(genesis, first, first.Header.Time()))
	linked := first.Header.Header
	linked.LastHeaderHash = make([]byte, 32)
	require.ErrorIs(t, block.VerifyNext(genesis, testutil.Sign(chain.Key, linked)), block.ErrBrokenLink)
}

func TestProposerRotates(t *testing.T) {
	chain := testutil.NewChain("c")
	first := chain.Next()
	genesis := block.GenesisState(chain.Genesis, nil)
	require.Equal(t, chain.Genesis.ProposerAddress, genesis.Next(first.Header, block.ExecResult{}).NextProposer)
	next := bytes.Repeat([]byte{7}, 32)
	require.Equal(t, next, genesis.Next(first.Header, block.ExecResult{NextProposer: next}).NextProposer)
}

func TestBatchSignatures(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 64} {
		hs := testutil.Headers(testutil.NewChain("c").Blocks(n, 0))
		good, err := block.VerifySignatures(hs)
		require.NoError(t, err)
		require.Equal(t, n, good)
	}
	hs := testutil.Headers(testutil.NewChain("c").Blocks(64, 0))
	hs[40] = block.NewSignedHeader(hs[40].Header, make([]byte, 64), hs[40].Signer)
	good, err := block.VerifySignatures(hs)
	require.ErrorIs(t, err, block.ErrBadSignature)
	require.Equal(t, 40, good, "the good ones before the bad one stand")
}

// TestSignatureIsCheckedPerObject guards against a decoded header that inherits
// the verdict on another.
func TestSignatureIsCheckedPerObject(t *testing.T) {
	h := testutil.NewChain("c").Next().Header
	require.NoError(t, h.VerifySignature())
	bad := block.NewSignedHeader(h.Header, make([]byte, 64), h.Signer)
	require.NoError(t, h.UnmarshalBinary(bad.EncodeP2P()))
	require.ErrorIs(t, h.VerifySignature(), block.ErrBadSignature)
	bad.Trust()
	require.NoError(t, bad.VerifySignature())
}

func TestDecodersAreStrictAboutSize(t *testing.T) {
	huge := make([]byte, block.MaxFrameBytes+1)
	_, err := block.DecodeSignedHeader(huge)
	require.ErrorIs(t, err, block.ErrTooLarge)
	_, err = block.DecodeData(huge)
	require.ErrorIs(t, err, block.ErrTooLarge)
	_, err = block.DecodeState(huge)
	require.ErrorIs(t, err, block.ErrTooLarge)
	_, err = block.DecodeSignedData(huge)
	require.ErrorIs(t, err, block.ErrTooLarge)
	_, err = block.DecodeHeader(huge)
	require.ErrorIs(t, err, block.ErrTooLarge)

	legacy := block.Header{Height: 1, Legacy: block.Legacy{LastCommitHash: make([]byte, 1025)}}
	_, err = block.DecodeHeader(legacy.Encode())
	require.ErrorIs(t, err, block.ErrTooLarge)
	unknown := append([]byte{0x82, 0x01, 0x81, 0x80, 0x40}, make([]byte, 1<<20+1)...) // field 16, 1 MiB + 1
	_, err = block.DecodeHeader(unknown)
	require.ErrorIs(t, err, block.ErrTooLarge)
	full := append([]byte{0x82, 0x01, 0xfb, 0xff, 0x3f}, make([]byte, 1<<20-5)...) // field 16, 1 MiB in all
	_, err = block.DecodeHeader(full)
	require.NoError(t, err)
	_, err = block.DecodeHeader(append(full, 0x2a, 0x01, 0x01)) // one legacy byte
	require.ErrorIs(t, err, block.ErrTooLarge)
	_, err = block.DecodeHeader([]byte{0x62, 0x01, 0xff})
	require.ErrorContains(t, err, "UTF-8")
}

func TestDecodersReportWhatIsMissingOrTwice(t *testing.T) {
	h := testutil.NewChain("c").Next().Header.Encode()
	_, err := block.DecodeSignedHeader(nil)
	require.ErrorContains(t, err, "no header")
	_, err = block.DecodeSignedHeader(append(h, h...))
	require.ErrorContains(t, err, "header appears twice")
	_, err = block.DecodeSignedHeader(h[:len(h)-1])
	require.Error(t, err)
	_, err = block.DecodeSignedData(nil)
	require.ErrorContains(t, err, "no data")
}

// TestUnknownFieldsAreDropped re-encodes to the canonical form, as the
// reference does, so that the hash never depends on foreign fields.
func TestUnknownFieldsAreDropped(t *testing.T) {
	h := testutil.NewChain("c").Next().Header
	odd := append(h.Header.Encode(), 0x80, 0x01, 0x05) // field 16 varint
	got, err := block.DecodeHeader(odd)
	require.NoError(t, err)
	require.Equal(t, h.Header.Encode(), got.Encode())
}

// TestDecodersKeepNothingOfTheInput lets callers reuse their buffers.
func TestDecodersKeepNothingOfTheInput(t *testing.T) {
	b := testutil.NewChain("c").Next([]byte("k=v"))
	in := b.Header.EncodeP2P()
	h, err := block.DecodeSignedHeader(in)
	require.NoError(t, err)
	dataIn := b.Data.EncodeP2P()
	d, err := block.DecodeData(dataIn)
	require.NoError(t, err)
	clear(in)
	clear(dataIn)
	require.Equal(t, b.Header.Encode(), h.Encode())
	require.NoError(t, h.Validate())
	require.Equal(t, b.Data.Encode(), d.Encode())
	require.Equal(t, "k=v", string(d.Txs[0]))
}

func TestGenesisFile(t *testing.T) {
	g := testutil.NewChain("c").Genesis
	path := t.TempDir() + "/config/genesis.json"
	require.NoError(t, g.Save(path))
	got, err := block.LoadGenesis(path)
	require.NoError(t, err)
	require.Equal(t, g, got)
	require.Equal(t, g.Hash(), got.Hash())
	other := g
	other.InitialHeight++
	require.NotEqual(t, g.Hash(), other.Hash())

	for content, want := range map[string]string{
		`{`:                                   "genesis",
		`{"chain":"c"}`:                       "chain_id is empty",
		`{"chain_id":"c"}{}`:                  "more than one JSON value",
		`{"chain_id":""}`:                     "chain_id is empty",
		`{"chain_id":"c","initial_height":1}`: "start_time",
		`{"chain_id":"c","initial_height":1,"start_time":"2026-01-01T00:00:00Z","proposer_address":null}`:   "copy the sequencer's genesis file",
		`{"chain_id":"c","initial_height":0,"start_time":"2026-01-01T00:00:00Z"}`:                           "initial_height is 0",
		`{"chain_id":"c","initial_height":1,"start_time":"2026-01-01T00:00:00Z","proposer_address":"AAA="}`: "proposer_address has 2 bytes",
	} {
		_, err := block.DecodeGenesis([]byte(content))
		require.ErrorContains(t, err, want, content)
	}
	_, err = block.LoadGenesis(path + "x")
	require.Error(t, err)
}

func TestUnknownMembersOfAGenesisFileAreNamed(t *testing.T) {
	path := t.TempDir() + "/genesis.json"
	require.NoError(t, testutil.NewChain("c").Genesis.Save(path))
	g, err := block.LoadGenesis(path)
	require.NoError(t, err)
	require.Empty(t, block.UnknownInGenesis(path))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append([]byte(`{"da_start_heigth":7,"app_state":{},`), bytes.TrimSpace(raw)[1:]...), 0o600))
	more, err := block.LoadGenesis(path)
	require.NoError(t, err)
	require.Equal(t, g, more)
	require.Equal(t, []string{"app_state", "da_start_heigth"}, block.UnknownInGenesis(path))
}

func TestStateTimestamps(t *testing.T) {
	for _, when := range []time.Time{{}, time.Unix(1, 0).UTC(), time.Unix(1_700_000_000, 999_999_999).UTC()} {
		s := block.State{LastTime: when}
		got, err := block.DecodeState(s.Encode())
		require.NoError(t, err)
		require.Equal(t, when, got.LastTime)
	}
	_, err := block.DecodeState([]byte{0x2a, 0x06, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f})
	require.ErrorContains(t, err, "out of range")
}

func TestConflictCarriesBoth(t *testing.T) {
	a, b := testutil.NewChain("a").Next().Header, testutil.NewChain("b").Next().Header
	var err error = &block.Conflict[*block.SignedHeader]{Height: 1, Have: a, Got: b}
	var c *block.Conflict[*block.SignedHeader]
	require.ErrorAs(t, err, &c)
	require.Equal(t, a, c.Have)
	require.Equal(t, b, c.Got)
	require.ErrorContains(t, err, "height 1")
}

// TestGenesisHashIsTheIdentity: where DA is begun to be read may be moved on a
// running chain; nothing else may.
func TestGenesisHashIsTheIdentity(t *testing.T) {
	g := block.Genesis{ChainID: "c", StartTime: time.Unix(1, 0), InitialHeight: 1, ProposerAddress: make([]byte, 32), DAStartHeight: 1, DAEpochForcedInclusion: 50}
	moved := g
	moved.DAStartHeight = 900
	require.Equal(t, g.Hash(), moved.Hash())
	for name, change := range map[string]func(*block.Genesis){
		"chain id": func(g *block.Genesis) { g.ChainID = "d" }, "start time": func(g *block.Genesis) { g.StartTime = time.Unix(2, 0) },
		"initial height": func(g *block.Genesis) { g.InitialHeight = 2 }, "proposer": func(g *block.Genesis) { g.ProposerAddress = append(make([]byte, 31), 1) },
		"epoch": func(g *block.Genesis) { g.DAEpochForcedInclusion = 51 },
	} {
		other := g
		change(&other)
		require.NotEqual(t, g.Hash(), other.Hash(), name)
	}
	for _, id := range []string{"a\x1b[31m", "a\tb", "a\x00", "a b", "a\u00a0b", "a\u200bb", "a\u202eb", "\xff"} {
		g.ChainID = id
		require.EqualError(t, g.Validate(), fmt.Sprintf("chain_id is %q, want printable characters without spaces", id))
	}
}
