// Package testutil makes test chains and watches tests for leaks. Packages of
// the node may use it in tests only.
package testutil

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Key returns a fixed ed25519 key for a name.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("tandem test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Chain makes valid, signed, linked blocks one after another.
type Chain struct {
	Genesis block.Genesis
	Key     ed25519.PrivateKey
	// Root returns the state root after a height; it stands for the executor.
	Root func(height uint64) []byte
	// Step is the time between blocks.
	Step time.Duration

	last block.Block
}

// NewChain starts a chain called id whose proposer is the key named "proposer".
func NewChain(id string) *Chain {
	key := Key("proposer")
	address := block.Address(key.Public().(ed25519.PublicKey))
	return &Chain{
		Genesis: block.Genesis{
			ChainID: id, StartTime: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), InitialHeight: 1,
			ProposerAddress: address[:], DAStartHeight: 1, DAEpochForcedInclusion: 50,
		},
		Key:  key,
		Root: func(uint64) []byte { return nil },
		Step: time.Second,
	}
}

// Next returns the next block with the given transactions.
func (c *Chain) Next(txs ...[]byte) block.Block {
	h := block.Header{
		Height: c.Genesis.InitialHeight, Time: uint64(c.Genesis.StartTime.UnixNano()),
		ProposerAddress: c.Genesis.ProposerAddress, ChainID: c.Genesis.ChainID,
	}
	var lastData []byte
	if c.last.Header != nil {
		h.Height = c.last.Height() + 1
		h.Time = c.last.Header.Header.Time + uint64(c.Step) //nolint:gosec // not negative
		h.LastHeaderHash = c.last.Header.Hash()
		lastData = c.last.Data.Hash()
	}
	h.AppHash = c.Root(h.Height - 1)
	commitment := block.Commit(txs)
	h.DataHash = commitment[:]
	signed := Sign(c.Key, h)
	c.last = block.Block{Header: signed, Data: block.CanonicalData(signed, txs, lastData)}
	return c.last
}

// Blocks returns n more blocks with txs transactions each, all different.
func (c *Chain) Blocks(n, txs int) []block.Block {
	out := make([]block.Block, n)
	for i := range out {
		list := make([][]byte, txs)
		for j := range list {
			list[j] = fmt.Appendf(nil, "k%d-%d=v%d", i, j, i)
		}
		out[i] = c.Next(list...)
	}
	return out
}

// Fork returns a chain that shares all blocks made so far and then goes its own
// way when other transactions are given.
func (c *Chain) Fork() *Chain {
	f := *c
	return &f
}

// Sign signs a header with key and returns it with the key's signer.
func Sign(key ed25519.PrivateKey, h block.Header) *block.SignedHeader {
	return block.NewSignedHeader(h, ed25519.Sign(key, h.Encode()), block.NewSigner(key.Public().(ed25519.PublicKey)))
}

// Envelope returns the DA blob of a header, signed twice by key.
func Envelope(key ed25519.PrivateKey, h *block.SignedHeader) []byte {
	return block.HeaderEnvelope{Header: h, Signature: ed25519.Sign(key, h.Encode())}.Encode()
}

// DataBlob returns the DA blob of data, signed by key.
func DataBlob(key ed25519.PrivateKey, d *block.Data) []byte {
	return block.SignedData{
		Data: d, Signature: ed25519.Sign(key, d.Encode()),
		Signer: block.NewSigner(key.Public().(ed25519.PublicKey)),
	}.Encode()
}

// Headers returns the headers of blocks.
func Headers(bs []block.Block) []*block.SignedHeader {
	out := make([]*block.SignedHeader, len(bs))
	for i, b := range bs {
		out[i] = b.Header
	}
	return out
}

// DataOf returns the data of blocks.
func DataOf(bs []block.Block) []*block.Data {
	out := make([]*block.Data, len(bs))
	for i, b := range bs {
		out[i] = b.Data
	}
	return out
}
