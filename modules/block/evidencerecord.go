package block

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxEvidenceBytes bounds the record of one piece of evidence: two headers of the
// largest size there is, and what is noted about them.
const MaxEvidenceBytes = 2*MaxFrameBytes + 16<<10

// Encode returns the record as docs/adr/009-conflicts.md describes it.
func (e Evidence) Encode() []byte {
	var b []byte
	if e.First.Header != nil {
		b = appendBytesAlways(b, 1, e.First.encode())
	}
	b = appendBytesAlways(b, 2, e.Second.encode())
	if e.Refuted != nil {
		b = appendBytesAlways(b, 3, e.Refuted.encode())
	}
	return b
}

func (s Sighting) encode() []byte {
	b := appendBytesAlways(nil, 1, s.Header.Encode())
	b = appendUint(b, 2, uint64(s.Source))
	b = appendUint(b, 3, s.DAHeight)
	b = appendBytes(b, 4, []byte(s.Peer))
	return appendBytes(b, 5, encodeTimestamp(s.At))
}

func (r *Refutation) encode() []byte {
	b := appendBytes(nil, 1, []byte(r.Rule))
	b = appendBytes(b, 2, r.Want)
	b = appendBytesAlways(b, 3, r.WantHash[:])
	b = appendBytes(b, 4, []byte(r.Executor))
	if r.Forced != nil {
		b = appendBytesAlways(b, 5, r.Forced.encode())
	}
	return b
}

func (l *LeftOut) encode() []byte {
	b := appendUint(nil, 1, l.DAHeight)
	b = appendUint(b, 2, l.Index)
	return appendUint(b, 3, l.Epochs)
}

func decodeLeftOut(b []byte) (*LeftOut, error) {
	var l LeftOut
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.VarintType):
			l.DAHeight = r.varint
		case r.is(2, protowire.VarintType):
			l.Index = r.varint
		case r.is(3, protowire.VarintType):
			l.Epochs = r.varint
		}
	}
	return &l, r.err
}

// DecodeEvidence reads what Encode wrote. It checks the form, not the proof.
func DecodeEvidence(b []byte) (Evidence, error) {
	var (
		e   Evidence
		err error
	)
	if len(b) > MaxEvidenceBytes {
		return e, fmt.Errorf("evidence has %d bytes, at most %d allowed: %w", len(b), MaxEvidenceBytes, ErrTooLarge)
	}
	r := reader{rest: bytes.Clone(b)}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			e.First, err = decodeSighting(r.bytes)
		case r.is(2, protowire.BytesType):
			e.Second, err = decodeSighting(r.bytes)
		case r.is(3, protowire.BytesType):
			e.Refuted, err = decodeRefutation(r.bytes)
		}
		if err != nil {
			return Evidence{}, fmt.Errorf("evidence: %w", err)
		}
	}
	if r.err != nil {
		return Evidence{}, fmt.Errorf("evidence: %w", r.err)
	}
	if err := e.Complete(); err != nil {
		return Evidence{}, err
	}
	return e, nil
}

func decodeSighting(b []byte) (Sighting, error) {
	var (
		s   Sighting
		err error
	)
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			s.Header, err = DecodeSignedHeader(r.bytes)
		case r.is(2, protowire.VarintType):
			s.Source = Source(r.varint) //nolint:gosec // an unknown one is shown as such
		case r.is(3, protowire.VarintType):
			s.DAHeight = r.varint
		case r.is(4, protowire.BytesType):
			s.Peer = string(r.limited("peer", maxPeerBytes))
		case r.is(5, protowire.BytesType):
			s.At, err = decodeTimestamp(r.bytes)
		}
		if err != nil {
			return s, err
		}
	}
	return s, r.err
}

func decodeRefutation(b []byte) (*Refutation, error) {
	const maxRuleBytes = 256
	var v Refutation
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			v.Rule = Rule(r.limited("rule", maxRuleBytes))
		case r.is(2, protowire.BytesType):
			v.Want = r.limited("expected value", MaxWant)
		case r.is(3, protowire.BytesType):
			hash, err := HashFromBytes(r.bytes)
			if err != nil {
				return nil, fmt.Errorf("refutation: %w", err)
			}
			v.WantHash = hash
		case r.is(4, protowire.BytesType):
			v.Executor = string(r.limited("executor", maxExecutorBytes))
		case r.is(5, protowire.BytesType):
			left, err := decodeLeftOut(r.bytes)
			if err != nil {
				return nil, fmt.Errorf("refutation: %w", err)
			}
			v.Forced = left
		}
	}
	return &v, r.err
}
