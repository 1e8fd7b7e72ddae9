package block

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// HeaderEnvelope is a header as it lies on DA (evnode.v1.DAHeaderEnvelope): the
// signed header and a second signature over all of it.
type HeaderEnvelope struct {
	Header    *SignedHeader
	Signature []byte // empty in bare SignedHeader blobs of older sequencers
}

// Encode returns the blob.
func (e HeaderEnvelope) Encode() []byte {
	b := e.Header.AppendTo(make([]byte, 0, e.Header.Size()+sizeBytes(4, len(e.Signature))))
	return appendBytes(b, 4, e.Signature)
}

// DecodeHeaderEnvelope reads a DAHeaderEnvelope or a bare SignedHeader.
func DecodeHeaderEnvelope(b []byte) (HeaderEnvelope, error) {
	h, four, err := decodeSigned(b)
	if err != nil {
		return HeaderEnvelope{}, fmt.Errorf("header envelope: %w", err)
	}
	e := HeaderEnvelope{Header: h}
	if four.typ == protowire.BytesType {
		if len(four.bytes) > maxSignatureSize {
			return HeaderEnvelope{}, fmt.Errorf("header envelope: signature: %w", ErrTooLarge)
		}
		e.Signature = four.bytes
	}
	return e, nil
}

// Verify checks the envelope signature against the signer the header names. It
// does not check the header itself.
func (e HeaderEnvelope) Verify() error {
	if len(e.Signature) == 0 {
		return violation(ErrNoSignature, e.Header.Height())
	}
	return verifyMessage(e.Header.Height(), e.Header.Signer, e.Header.Encode(), e.Signature)
}

// SignedData is data as it lies on DA (evnode.v1.SignedData).
type SignedData struct {
	Data      *Data
	Signature []byte // over the Data encoding, metadata included
	Signer    Signer
}

// Encode returns the blob.
func (s SignedData) Encode() []byte {
	raw := s.Data.Encode()
	b := make([]byte, 0, len(raw)+len(s.Signature)+s.Signer.size()+24)
	b = appendBytesAlways(b, 1, raw)
	b = appendBytes(b, 2, s.Signature)
	return s.Signer.appendField(b)
}

// DecodeSignedData reads a SignedData blob. It keeps nothing of b, which may hold any
// number of bytes that are no part of what is signed; b may be reused afterwards.
func DecodeSignedData(b []byte) (SignedData, error) {
	if err := checkSize("signed data", b); err != nil {
		return SignedData{}, err
	}
	var (
		s         SignedData
		hasSigner bool
		err       error
	)
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			if s.Data != nil {
				return SignedData{}, errTwice("data")
			}
			if s.Data, err = DecodeData(r.bytes); err != nil {
				return SignedData{}, fmt.Errorf("signed data: %w", err)
			}
		case r.is(2, protowire.BytesType):
			s.Signature = r.limited("signature", maxSignatureSize)
		case r.is(3, protowire.BytesType):
			if hasSigner {
				return SignedData{}, errTwice("signer")
			}
			hasSigner = true
			if s.Signer, err = decodeSigner(r.bytes); err != nil {
				return SignedData{}, fmt.Errorf("signed data: %w", err)
			}
		}
	}
	switch {
	case r.err != nil:
		return SignedData{}, fmt.Errorf("signed data: %w", r.err)
	case s.Data == nil:
		return SignedData{}, errors.New("signed data: no data in message")
	}
	s.Signature = bytes.Clone(s.Signature)
	s.Signer.Address, s.Signer.PubKey = bytes.Clone(s.Signer.Address), bytes.Clone(s.Signer.PubKey)
	return s, nil
}

// Verify checks the signature against the signer the blob names. Anyone can
// sign data; what counts is whether a header commits to it.
func (s SignedData) Verify() error {
	if len(s.Signature) == 0 {
		return violation(ErrNoSignature, s.Data.Height())
	}
	return verifyMessage(s.Data.Height(), s.Signer, s.Data.Encode(), s.Signature)
}
