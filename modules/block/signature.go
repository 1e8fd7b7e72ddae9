package block

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// Ed25519 checks follow ZIP-215 everywhere, singly and in batches, so that two
// nodes never disagree about one signature (ADR 003).

// pubKeyPrefix is the libp2p protobuf before the 32 bytes of an ed25519 key.
const pubKeyPrefix = "\x08\x01\x12\x20"

// PubKeyProto returns the wire form of a raw ed25519 public key (evolve-wire §2.4).
func PubKeyProto(raw []byte) []byte { return append([]byte(pubKeyPrefix), raw...) }

// NewSigner returns the signer of a raw 32-byte ed25519 public key.
func NewSigner(raw []byte) Signer {
	address := Address(raw)
	return Signer{Address: address[:], PubKey: PubKeyProto(raw)}
}

// Address returns SHA-256 of a raw 32-byte ed25519 public key.
func Address(raw []byte) Hash { return Sum(raw) }

// RawPubKey returns the 32 bytes of the signer's ed25519 key, or nil when it
// has none or one of another kind.
func (s Signer) RawPubKey() []byte {
	if len(s.PubKey) != len(pubKeyPrefix)+ed25519.PublicKeySize || !bytes.HasPrefix(s.PubKey, []byte(pubKeyPrefix)) {
		return nil
	}
	return s.PubKey[len(pubKeyPrefix):]
}

// check verifies that the signer's key is usable and hashes to its address.
func (s Signer) check(height uint64) error {
	if len(s.PubKey) == 0 {
		return violation(ErrNoPubKey, height)
	}
	raw := s.RawPubKey()
	if raw == nil {
		return mismatch(ErrBadPubKey, height, s.PubKey, "08011220 and 32 bytes")
	}
	if address := Address(raw); !bytes.Equal(address[:], s.Address) {
		return mismatch(ErrWrongSigner, height, s.Address, address)
	}
	return nil
}

func verifyOptions() *ed25519.Options { return &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215} }

func verifyMessage(height uint64, s Signer, message, signature []byte) error {
	if err := s.check(height); err != nil {
		return err
	}
	if !ed25519.VerifyWithOptions(s.RawPubKey(), message, signature, verifyOptions()) {
		return violation(ErrBadSignature, height)
	}
	return nil
}

// VerifySignature checks the header's signature, once: later calls, and calls
// on trusted headers, return at once. Headers with legacy fields may be signed
// in either encoding. Those without may not be signed in the legacy one: it stands
// for fields that were stripped from the header, whose hash would be another one,
// and everybody could make such a header of one the proposer has signed.
func (h *SignedHeader) VerifySignature() error {
	if atomic.LoadUint32(&h.verified) == 1 {
		return nil
	}
	if len(h.Signature) == 0 {
		return violation(ErrNoSignature, h.Height())
	}
	err := verifyMessage(h.Height(), h.Signer, h.payload, h.Signature)
	if err != nil && h.signedLegacy() {
		err = nil
	}
	if err == nil {
		atomic.StoreUint32(&h.verified, 1)
	}
	return err
}

func (h *SignedHeader) signedLegacy() bool {
	return !h.Header.Legacy.IsZero() && h.Signer.RawPubKey() != nil &&
		verifyMessage(h.Height(), h.Signer, h.Header.EncodeLegacy(), h.Signature) == nil
}

// signedBytes returns the encoding that the header's signature, which is good, is of.
func (h *SignedHeader) signedBytes() []byte {
	if h.signedLegacy() {
		return h.Header.EncodeLegacy()
	}
	return h.payload
}

// VerifySignatures checks many headers at once, which is several times cheaper
// than one by one. It returns how many, from the front, are good, and the error
// of the first that is not.
func VerifySignatures(hs []*SignedHeader) (int, error) {
	const worthBatching = 4
	if len(hs) >= worthBatching && batchVerify(hs) {
		return len(hs), nil
	}
	for i, h := range hs {
		if err := h.VerifySignature(); err != nil {
			return i, fmt.Errorf("item %d of %d: %w", i+1, len(hs), err)
		}
	}
	return len(hs), nil
}

func batchVerify(hs []*SignedHeader) bool {
	b := newBatch(len(hs))
	for _, h := range hs {
		if atomic.LoadUint32(&h.verified) == 0 && !b.add(Signed{Signer: h.Signer, Message: h.payload, Signature: h.Signature}) {
			return false
		}
	}
	if !b.check() {
		return false
	}
	for _, h := range hs {
		atomic.StoreUint32(&h.verified, 1)
	}
	return true
}
