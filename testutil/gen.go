package testutil

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
)

// Txs generates the transactions of one block: none, equal ones, empty ones and
// writes the built-in executors understand.
func Txs(most int) *rapid.Generator[[][]byte] {
	write := rapid.Custom(func(t *rapid.T) []byte {
		return fmt.Appendf(nil, "k%d=%s", rapid.IntRange(0, 9).Draw(t, "key"), rapid.StringMatching(`[a-z0-9]{0,8}`).Draw(t, "value"))
	})
	junk := rapid.SliceOfN(rapid.Byte(), 0, 64)
	return rapid.SliceOfN(rapid.OneOf(write, write, junk), 0, most)
}

// AnyHeader generates headers with arbitrary fields, also such as no chain has.
func AnyHeader() *rapid.Generator[block.Header] {
	return rapid.Custom(func(t *rapid.T) block.Header {
		hash := rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 32, 32), rapid.Just[[]byte](nil))
		h := block.Header{
			Version:         block.Version{Block: rapid.Uint64().Draw(t, "block version"), App: rapid.Uint64().Draw(t, "app version")},
			Height:          rapid.Uint64Max(math.MaxInt64).Draw(t, "height"),
			Time:            rapid.Uint64Max(math.MaxInt64).Draw(t, "time"),
			LastHeaderHash:  hash.Draw(t, "last header hash"),
			DataHash:        hash.Draw(t, "data hash"),
			AppHash:         rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "app hash"),
			ProposerAddress: hash.Draw(t, "proposer"),
			ValidatorHash:   hash.Draw(t, "validator hash"),
			ChainID:         rapid.StringMatching(`[a-z0-9-]{0,20}`).Draw(t, "chain id"),
		}
		if rapid.Bool().Draw(t, "legacy") {
			h.Legacy = block.Legacy{
				LastCommitHash: hash.Draw(t, "last commit hash"), ConsensusHash: hash.Draw(t, "consensus hash"),
				LastResultsHash: hash.Draw(t, "last results hash"),
			}
		}
		return h
	})
}

// AnySignedHeader generates AnyHeader signed by the key named "any".
func AnySignedHeader() *rapid.Generator[*block.SignedHeader] {
	return rapid.Map(AnyHeader(), func(h block.Header) *block.SignedHeader { return Sign(Key("any"), h) })
}

// AnyData generates data with arbitrary metadata, or none.
func AnyData() *rapid.Generator[*block.Data] {
	return rapid.Custom(func(t *rapid.T) *block.Data {
		txs := Txs(8).Draw(t, "txs")
		if rapid.Bool().Draw(t, "bare") {
			return block.NewData(nil, txs)
		}
		return block.NewData(&block.Metadata{
			ChainID: rapid.StringMatching(`[a-z0-9-]{0,20}`).Draw(t, "chain id"), Height: rapid.Uint64Max(math.MaxInt64).Draw(t, "height"),
			Time: rapid.Uint64Max(math.MaxInt64).Draw(t, "time"), LastDataHash: rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "last data hash"),
		}, txs)
	})
}

// Made is a generated chain: where it stands and all its blocks.
type Made struct {
	Chain  *Chain
	Blocks []block.Block
}

// Chains generates valid chains of least to most blocks with up to txs
// transactions each. State roots differ from height to height, steps between
// blocks may be zero, and the initial height need not be 1.
func Chains(least, most, txs int) *rapid.Generator[Made] {
	return rapid.Custom(func(t *rapid.T) Made {
		c := NewChain("gen")
		c.Genesis.InitialHeight = rapid.SampledFrom([]uint64{1, 1, 1, 2, 1000}).Draw(t, "initial height")
		salt := rapid.Byte().Draw(t, "root")
		c.Root = func(height uint64) []byte {
			root := block.Sum(binary.BigEndian.AppendUint64([]byte{salt}, height))
			return root[:]
		}
		m := Made{Chain: c}
		for range rapid.IntRange(least, most).Draw(t, "blocks") {
			c.Step = time.Duration(rapid.IntRange(0, 3).Draw(t, "step")) * time.Second
			m.Blocks = append(m.Blocks, c.Next(Txs(txs).Draw(t, "txs")...))
		}
		return m
	})
}

// StateBefore returns the state a block of a chain builds on, as if the blocks
// before it had been applied.
func (m Made) StateBefore(i int) block.State {
	g := m.Chain.Genesis
	s := block.GenesisState(g, m.Chain.Root(g.InitialHeight-1))
	for _, b := range m.Blocks[:i] {
		s = s.Next(b.Header, block.ExecResult{StateRoot: m.Chain.Root(b.Height())})
	}
	return s
}

// Mutation makes one thing wrong with a good block.
type Mutation struct {
	Name string
	// Rule is what block.Verify finds against the state before the block. It is
	// empty where only the data link is wrong, which Verify does not see.
	Rule block.Rule
	// Apply returns the bad block. Where the signature is not what is wrong the
	// header is signed again, as a proposer who breaks the rules would.
	Apply func(c *Chain, b block.Block) block.Block
}

// Mutations returns every single thing that can be wrong with a block of
// transactions beyond the initial height.
func Mutations() []Mutation {
	header := func(name string, rule block.Rule, change func(*block.Header)) Mutation {
		return Mutation{Name: name, Rule: rule, Apply: func(c *Chain, b block.Block) block.Block {
			h := b.Header.Header
			change(&h)
			return block.Block{Header: Sign(c.Key, h), Data: b.Data}
		}}
	}
	raw := func(name string, rule block.Rule, change func(h block.Header, sig []byte, s block.Signer) *block.SignedHeader) Mutation {
		return Mutation{Name: name, Rule: rule, Apply: func(_ *Chain, b block.Block) block.Block {
			return block.Block{Header: change(b.Header.Header, b.Header.Signature, b.Header.Signer), Data: b.Data}
		}}
	}
	other := block.Sum([]byte("other"))
	return []Mutation{
		header("no proposer", block.ErrNoProposer, func(h *block.Header) { h.ProposerAddress = nil }),
		header("no time", block.ErrZeroTime, func(h *block.Header) { h.Time = 0 }),
		header("from the future", block.ErrFutureTime, func(h *block.Header) { h.Time += uint64(100 * 365 * 24 * time.Hour) }),
		header("short link", block.ErrBadLength, func(h *block.Header) { h.LastHeaderHash = h.LastHeaderHash[:31] }),
		header("short data hash", block.ErrBadLength, func(h *block.Header) { h.DataHash = []byte{1} }),
		header("other proposer", block.ErrProposerNotSigner, func(h *block.Header) { h.ProposerAddress = other[:] }),
		header("other chain", block.ErrWrongChain, func(h *block.Header) { h.ChainID += "x" }),
		header("height skipped", block.ErrWrongHeight, func(h *block.Header) { h.Height++ }),
		header("before its parent", block.ErrTimeBackwards, func(h *block.Header) { h.Time = 1 }),
		header("no link", block.ErrBrokenLink, func(h *block.Header) { h.LastHeaderHash = nil }),
		header("other link", block.ErrBrokenLink, func(h *block.Header) { h.LastHeaderHash = other[:] }),
		header("other state root", block.ErrWrongAppHash, func(h *block.Header) { h.AppHash = other[:] }),
		header("other commitment", block.ErrWrongCommitment, func(h *block.Header) { h.DataHash = other[:] }),
		raw("unsigned", block.ErrNoSignature, func(h block.Header, _ []byte, s block.Signer) *block.SignedHeader {
			return block.NewSignedHeader(h, nil, s)
		}),
		raw("other signature", block.ErrBadSignature, func(h block.Header, sig []byte, s block.Signer) *block.SignedHeader {
			bad := append([]byte(nil), sig...)
			bad[0] ^= 1
			return block.NewSignedHeader(h, bad, s)
		}),
		raw("no public key", block.ErrNoPubKey, func(h block.Header, sig []byte, s block.Signer) *block.SignedHeader {
			return block.NewSignedHeader(h, sig, block.Signer{Address: s.Address})
		}),
		raw("a stranger's address", block.ErrWrongSigner, func(h block.Header, sig []byte, s block.Signer) *block.SignedHeader {
			return block.NewSignedHeader(h, sig, block.Signer{Address: other[:], PubKey: s.PubKey})
		}),
		{"a stranger's block", block.ErrUnexpectedProposer, func(_ *Chain, b block.Block) block.Block {
			h, key := b.Header.Header, Key("stranger")
			h.ProposerAddress = Sign(key, h).Signer.Address
			return block.Block{Header: Sign(key, h), Data: b.Data}
		}},
		data("no metadata", block.ErrNoMetadata, func(b block.Block) *block.Data { return block.NewData(nil, b.Data.Txs) }),
		data("data of another chain", block.ErrDataChain, metadata(func(m *block.Metadata) { m.ChainID += "x" })),
		data("data of another height", block.ErrDataHeight, metadata(func(m *block.Metadata) { m.Height++ })),
		data("data of another time", block.ErrDataTime, metadata(func(m *block.Metadata) { m.Time++ })),
		data("data with one more transaction", block.ErrWrongCommitment, func(b block.Block) *block.Data {
			return block.NewData(b.Data.Metadata, append(append([][]byte{}, b.Data.Txs...), []byte("more")))
		}),
		data("data of another past", "", metadata(func(m *block.Metadata) { m.LastDataHash = other[:] })),
	}
}

func data(name string, rule block.Rule, change func(block.Block) *block.Data) Mutation {
	return Mutation{Name: name, Rule: rule, Apply: func(_ *Chain, b block.Block) block.Block {
		return block.Block{Header: b.Header, Data: change(b)}
	}}
}

func metadata(change func(*block.Metadata)) func(block.Block) *block.Data {
	return func(b block.Block) *block.Data {
		m := *b.Data.Metadata
		change(&m)
		return block.NewData(&m, b.Data.Txs)
	}
}
