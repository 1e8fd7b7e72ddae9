package block

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	header "github.com/celestiaorg/go-header"
	"google.golang.org/protobuf/encoding/protowire"
)

var _ header.Header[*SignedHeader] = (*SignedHeader)(nil)

// Signer says who signed: an address and the libp2p protobuf of a public key.
type Signer struct {
	Address []byte
	PubKey  []byte // 08 01 12 20 ‖ 32 bytes for ed25519; empty when unsigned
}

// SignedHeader is a header with its signature (evnode.v1.SignedHeader). It is
// the item of the header store and of header gossip. Build it with
// NewSignedHeader or a decoder; never change it afterwards.
type SignedHeader struct {
	Header    Header
	Signature []byte
	Signer    Signer
	// DAHint is the DA height at which the header is said to be found; 0 when
	// not known. It is not signed and travels only over P2P.
	DAHint uint64

	payload  []byte // slim encoding of Header
	hash     Hash
	verified uint32 // 1 once the signature was checked; atomic
}

// NewSignedHeader builds a signed header and computes its hash. It keeps the
// slices it is given but for the last header hash: that is mostly a part of the
// header before, and would keep that, and all before it, in memory.
func NewSignedHeader(h Header, signature []byte, s Signer) *SignedHeader {
	h.LastHeaderHash = bytes.Clone(h.LastHeaderHash)
	payload := h.Encode()
	return &SignedHeader{Header: h, Signature: signature, Signer: s, payload: payload, hash: h.hashOf(payload)}
}

// DecodeSignedHeader reads evnode.v1.SignedHeader or P2PSignedHeader; the
// latter also carries a DA hint. The input may be reused afterwards.
func DecodeSignedHeader(b []byte) (*SignedHeader, error) {
	h, rest, err := decodeSigned(b)
	if err != nil {
		return nil, fmt.Errorf("signed header: %w", err)
	}
	if rest.typ == protowire.VarintType {
		h.DAHint = rest.varint
	}
	return h, nil
}

// decodeSigned reads the three fields all signed headers share. Field 4, whose
// meaning differs between the envelopes, is returned as it was found.
func decodeSigned(b []byte) (h *SignedHeader, four reader, err error) {
	if err := checkSize("message", b); err != nil {
		return nil, four, err
	}
	h = &SignedHeader{}
	own := append(make([]byte, 0, len(b)), b...)
	r := reader{rest: own}
	var hasHeader, hasSigner bool
	four.typ = -1
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			if hasHeader {
				return nil, four, errTwice("header")
			}
			hasHeader = true
			if h.Header, err = decodeHeader(r.bytes); err != nil {
				return nil, four, err
			}
			h.payload = r.bytes
		case r.is(2, protowire.BytesType):
			h.Signature = r.limited("signature", maxSignatureSize)
		case r.is(3, protowire.BytesType):
			if hasSigner {
				return nil, four, errTwice("signer")
			}
			hasSigner = true
			if h.Signer, err = decodeSigner(r.bytes); err != nil {
				return nil, four, err
			}
		case r.num == 4:
			four = r
		}
	}
	if r.err != nil {
		return nil, four, r.err
	}
	if !hasHeader {
		return nil, four, errors.New("no header in message")
	}
	h.settle()
	if len(own) <= h.Size()+spareBytes {
		return h, four, nil
	}
	// Mostly what nobody knows, which must not be kept with the header.
	h, _, err = decodeSigned(h.AppendTo(make([]byte, 0, h.Size())))
	four.bytes = bytes.Clone(four.bytes)
	return h, four, err
}

// spareBytes are those of a message that may be kept though they are not part of
// the header: a DA hint, or the signature of an envelope.
const spareBytes = 128

// HeldHeader returns what an encoded header takes in memory once it is decoded.
func HeldHeader(b []byte) int { return len(b) + itemBytes }

// Held returns the bytes the header takes in memory.
func (h *SignedHeader) Held() int { return h.Size() + spareBytes + itemBytes }

// IsP2P reports whether b is what EncodeP2P returns.
func (h *SignedHeader) IsP2P(b []byte) bool { return bytes.Equal(b, h.EncodeP2P()) }

// settle makes the received payload canonical and computes the hash. The bytes
// that came in are kept when they already are canonical.
func (h *SignedHeader) settle() {
	if slim := h.Header.Encode(); string(slim) != string(h.payload) {
		h.payload = slim
	}
	h.hash = h.Header.hashOf(h.payload)
}

func decodeSigner(b []byte) (Signer, error) {
	var s Signer
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			s.Address = r.limited("signer address", maxAddressBytes)
		case r.is(2, protowire.BytesType):
			s.PubKey = r.limited("signer public key", maxPubKeyBytes)
		}
	}
	if r.err != nil {
		return Signer{}, fmt.Errorf("signer: %w", r.err)
	}
	return s, nil
}

func (s Signer) size() int {
	n := 0
	if len(s.Address) > 0 {
		n += sizeBytes(1, len(s.Address))
	}
	if len(s.PubKey) > 0 {
		n += sizeBytes(2, len(s.PubKey))
	}
	return n
}

// appendField writes the signer as field 3, which is there even when empty.
func (s Signer) appendField(b []byte) []byte {
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(s.size())) //nolint:gosec // a size is not negative
	b = appendBytes(b, 1, s.Address)
	return appendBytes(b, 2, s.PubKey)
}

// Encode returns evnode.v1.SignedHeader: the form of stores, RPC and, with an
// envelope signature behind it, of DA.
func (h *SignedHeader) Encode() []byte { return h.AppendTo(make([]byte, 0, h.Size()+4)) }

// AppendTo appends Encode's bytes to b.
func (h *SignedHeader) AppendTo(b []byte) []byte {
	b = appendBytesAlways(b, 1, h.payload)
	b = appendBytes(b, 2, h.Signature)
	return h.Signer.appendField(b)
}

// Size returns the length of Encode's result, in bytes.
func (h *SignedHeader) Size() int {
	n := sizeBytes(1, len(h.payload)) + sizeBytes(3, h.Signer.size())
	if len(h.Signature) > 0 {
		n += sizeBytes(2, len(h.Signature))
	}
	return n
}

// EncodeP2P returns P2PSignedHeader, the body of gossip and of range responses.
// The hint is written even when zero.
func (h *SignedHeader) EncodeP2P() []byte {
	b := h.AppendTo(make([]byte, 0, h.Size()+11))
	return appendUintAlways(b, 4, h.DAHint)
}

// WithDAHint returns the same header with another DA hint.
func (h *SignedHeader) WithDAHint(daHeight uint64) *SignedHeader {
	return &SignedHeader{
		Header: h.Header, Signature: h.Signature, Signer: h.Signer, DAHint: daHeight,
		payload: h.payload, hash: h.hash, verified: atomic.LoadUint32(&h.verified),
	}
}

// Payload returns the bytes that are signed. The caller must not change them.
func (h *SignedHeader) Payload() []byte { return h.payload }

// Digest returns the header hash as an array; Hash returns the same as a slice.
func (h *SignedHeader) Digest() Hash { return h.hash }

// IsEmpty reports whether the header commits to no transactions: its data hash
// is absent or the commitment of an empty list. Such data is never on DA and
// can be rebuilt from the header alone (evolve-wire §6.7).
func (h *SignedHeader) IsEmpty() bool {
	empty := EmptyCommitment()
	return len(h.Header.DataHash) == 0 || string(h.Header.DataHash) == string(empty[:])
}

// Trust marks the signature as already checked, for headers read back from the
// node's own store, where only checked ones are kept.
func (h *SignedHeader) Trust() { atomic.StoreUint32(&h.verified, 1) }

// New implements header.Header.
func (h *SignedHeader) New() *SignedHeader { return new(SignedHeader) }

// IsZero implements header.Header.
func (h *SignedHeader) IsZero() bool { return h == nil }

// ChainID implements header.Header.
func (h *SignedHeader) ChainID() string { return h.Header.ChainID }

// Hash implements header.Header. The caller must not change the result.
func (h *SignedHeader) Hash() header.Hash { return h.hash[:] }

// Height implements header.Header.
func (h *SignedHeader) Height() uint64 { return h.Header.Height }

// LastHeader implements header.Header.
func (h *SignedHeader) LastHeader() header.Hash { return h.Header.LastHeaderHash }

// Time implements header.Header.
func (h *SignedHeader) Time() time.Time { return unixNano(h.Header.Time) }

// MarshalBinary implements header.Header with the P2P form.
func (h *SignedHeader) MarshalBinary() ([]byte, error) { return h.EncodeP2P(), nil }

// UnmarshalBinary implements header.Header with the P2P form.
func (h *SignedHeader) UnmarshalBinary(b []byte) error {
	d, err := DecodeSignedHeader(b)
	if err != nil {
		return err
	}
	h.Header, h.Signature, h.Signer, h.DAHint = d.Header, d.Signature, d.Signer, d.DAHint
	h.payload, h.hash = d.payload, d.hash
	atomic.StoreUint32(&h.verified, 0)
	return nil
}

// unixNano reads wire time. Times beyond the range of int64 (year 2262) become
// the largest one, which every future check refuses.
func unixNano(ns uint64) time.Time {
	const most = 1<<63 - 1
	return time.Unix(0, int64(min(ns, most))).UTC()
}
