package block

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Sighting is a signed header and how this node came by it.
type Sighting struct {
	Header   *SignedHeader
	Source   Source
	DAHeight uint64    // 0 when it was not seen on DA
	Peer     string    // who sent it; empty when not known
	At       time.Time // when it was found to contradict the other one
}

// Evidence proves that a proposer signed two headers for one height
// . The first is the one that was kept here before.
type Evidence struct {
	First, Second Sighting
}

// Errors of evidence that proves nothing.
var (
	ErrNoPair   = errors.New("evidence lacks a header")
	ErrSamePair = errors.New("both headers are the same")
)

const maxPeerBytes = 128

// Height returns the height both headers are of.
func (e Evidence) Height() uint64 { return e.First.Header.Height() }

// ID names the pair of headers, whichever came first.
func (e Evidence) ID() Hash {
	a, b := e.First.Header.Digest(), e.Second.Header.Digest()
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return Sum(append(a[:], b[:]...))
}

// Verify checks that the evidence holds against the proposer of the genesis.
// It needs nothing else. Sources, peers and times are not part of the proof.
func (e Evidence) Verify(g Genesis) error { return e.VerifyBy(g, g.ProposerAddress) }

// VerifyBy is Verify for a height at which another proposer was in office.
func (e Evidence) VerifyBy(g Genesis, proposer []byte) error {
	a, b := e.First.Header, e.Second.Header
	switch {
	case a == nil || b == nil:
		return ErrNoPair
	case a.Digest() == b.Digest():
		return ErrSamePair
	case a.Height() != b.Height():
		return mismatch(ErrWrongHeight, b.Height(), b.Height(), a.Height())
	}
	for _, h := range []*SignedHeader{a, b} {
		switch {
		case h.Header.ChainID != g.ChainID:
			return mismatch(ErrWrongChain, h.Height(), h.Header.ChainID, g.ChainID)
		case h.Height() < g.InitialHeight:
			return mismatch(ErrWrongHeight, h.Height(), h.Height(), fmt.Sprintf("at least %d", g.InitialHeight))
		case !bytes.Equal(h.Header.ProposerAddress, proposer):
			return mismatch(ErrUnexpectedProposer, h.Height(), h.Header.ProposerAddress, proposer)
		}
		if err := h.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Encode returns the record as docs/adr/009-conflicts.md describes it.
func (e Evidence) Encode() []byte {
	b := appendBytesAlways(nil, 1, e.First.encode())
	return appendBytesAlways(b, 2, e.Second.encode())
}

func (s Sighting) encode() []byte {
	b := appendBytesAlways(nil, 1, s.Header.Encode())
	b = appendUint(b, 2, uint64(s.Source))
	b = appendUint(b, 3, s.DAHeight)
	b = appendBytes(b, 4, []byte(s.Peer))
	return appendBytes(b, 5, encodeTimestamp(s.At))
}

// DecodeEvidence reads what Encode wrote. It checks the form, not the proof.
func DecodeEvidence(b []byte) (Evidence, error) {
	var (
		e   Evidence
		err error
	)
	if err := checkSize("evidence", b); err != nil {
		return e, err
	}
	r := reader{rest: bytes.Clone(b)}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			e.First, err = decodeSighting(r.bytes)
		case r.is(2, protowire.BytesType):
			e.Second, err = decodeSighting(r.bytes)
		}
		if err != nil {
			return Evidence{}, fmt.Errorf("evidence: %w", err)
		}
	}
	switch {
	case r.err != nil:
		return Evidence{}, fmt.Errorf("evidence: %w", r.err)
	case e.First.Header == nil || e.Second.Header == nil:
		return Evidence{}, ErrNoPair
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

// Encode returns the record of a revert.
func (r Revert) Encode() []byte {
	b := appendUint(nil, 1, r.To)
	b = appendUint(b, 2, r.DACursor)
	if r.Header != nil {
		b = appendBytesAlways(b, 3, r.Header.Encode())
	}
	return appendUint(b, 4, r.DAHeight)
}

// DecodeRevert reads what Encode wrote.
func DecodeRevert(b []byte) (Revert, error) {
	var (
		v   Revert
		err error
	)
	r := reader{rest: bytes.Clone(b)}
	for r.next() {
		switch {
		case r.is(1, protowire.VarintType):
			v.To = r.varint
		case r.is(2, protowire.VarintType):
			v.DACursor = r.varint
		case r.is(3, protowire.BytesType):
			if v.Header, err = DecodeSignedHeader(r.bytes); err != nil {
				return Revert{}, fmt.Errorf("revert: %w", err)
			}
		case r.is(4, protowire.VarintType):
			v.DAHeight = r.varint
		}
	}
	switch {
	case r.err != nil:
		return Revert{}, fmt.Errorf("revert: %w", r.err)
	case v.Header != nil && v.Header.Height() != v.To+1:
		return Revert{}, errors.New("revert: the header is not of the height it is for")
	}
	return v, nil
}
