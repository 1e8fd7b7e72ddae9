package stream

import (
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// Far returns a header like h at another height that nobody signed.
func Far(h *block.SignedHeader, height uint64) *block.SignedHeader {
	far := h.Header
	far.Height = height
	return block.NewSignedHeader(far, nil, h.Signer)
}

// Forged returns a header like h at another height, with h's own signature.
func Forged(h *block.SignedHeader, height uint64) *block.SignedHeader {
	far := h.Header
	far.Height = height
	return block.NewSignedHeader(far, h.Signature, h.Signer)
}

// SelfSigned returns a header like h at another height, by a proposer of its own.
func SelfSigned(h *block.SignedHeader, height uint64, name string) *block.SignedHeader {
	far := h.Header
	far.Height = height
	far.ProposerAddress = testutil.Sign(testutil.Key(name), far).Signer.Address
	return testutil.Sign(testutil.Key(name), far)
}

// Squat returns data of a height with other transactions than its header's.
func Squat(d *block.Data, txs ...[]byte) *block.Data {
	m := *d.Metadata
	return block.NewData(&m, txs)
}
