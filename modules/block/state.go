package block

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// State is what is known after the last applied block (evnode.v1.State). It is
// all that is needed to judge the next one.
type State struct {
	Version        Version
	ChainID        string
	InitialHeight  uint64
	LastHeight     uint64 // 0 before the first block
	LastTime       time.Time
	DAHeight       uint64 // highest DA height a DA-sourced block was read at
	AppHash        []byte // state root after the last block
	LastHeaderHash []byte // empty before the first block
	NextProposer   []byte // address of the only key that may sign the next block
}

// GenesisState returns the state before the first block. appHash is the root
// the executor returned from InitChain.
func GenesisState(g Genesis, appHash []byte) State {
	return State{
		ChainID: g.ChainID, InitialHeight: g.InitialHeight, LastTime: g.StartTime, DAHeight: g.DAStartHeight,
		AppHash: appHash, NextProposer: g.ProposerAddress,
	}
}

// Started reports whether a block was applied.
func (s State) Started() bool { return s.LastHeight >= s.InitialHeight && s.LastHeight > 0 }

// NextHeight returns the only height that may be applied next.
func (s State) NextHeight() uint64 {
	if !s.Started() {
		return s.InitialHeight
	}
	return s.LastHeight + 1
}

// Next returns the state after h was applied with result r.
func (s State) Next(h *SignedHeader, r ExecResult) State {
	next := s
	next.Version = h.Header.Version
	next.LastHeight = h.Height()
	next.LastTime = h.Time()
	next.AppHash = r.StateRoot
	next.LastHeaderHash = h.hash[:]
	switch {
	case len(r.NextProposer) > 0:
		next.NextProposer = r.NextProposer
	case len(s.NextProposer) == 0:
		next.NextProposer = h.Header.ProposerAddress
	}
	return next
}

// Encode returns evnode.v1.State.
func (s State) Encode() []byte {
	b := make([]byte, 0, 128+len(s.ChainID)+len(s.AppHash)+len(s.LastHeaderHash)+len(s.NextProposer))
	b = s.Version.appendField(b)
	b = appendBytes(b, 2, []byte(s.ChainID))
	b = appendUint(b, 3, s.InitialHeight)
	b = appendUint(b, 4, s.LastHeight)
	b = appendBytesAlways(b, 5, encodeTimestamp(s.LastTime))
	b = appendUint(b, 6, s.DAHeight)
	b = appendBytes(b, 8, s.AppHash)
	b = appendBytes(b, 9, s.LastHeaderHash)
	return appendBytes(b, 10, s.NextProposer)
}

// DecodeState reads evnode.v1.State. The input may be reused afterwards.
func DecodeState(b []byte) (State, error) {
	if err := checkSize("state", b); err != nil {
		return State{}, err
	}
	var (
		s   State
		err error
	)
	r := reader{rest: append([]byte(nil), b...)}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			s.Version, err = decodeVersion(r.bytes)
		case r.is(2, protowire.BytesType):
			s.ChainID = string(r.limited("chain_id", maxChainIDBytes))
		case r.is(3, protowire.VarintType):
			s.InitialHeight = r.varint
		case r.is(4, protowire.VarintType):
			s.LastHeight = r.varint
		case r.is(5, protowire.BytesType):
			s.LastTime, err = decodeTimestamp(r.bytes)
		case r.is(6, protowire.VarintType):
			s.DAHeight = r.varint
		case r.is(8, protowire.BytesType):
			s.AppHash = r.bytes
		case r.is(9, protowire.BytesType):
			s.LastHeaderHash = r.limited("last_header_hash", maxHashBytes)
		case r.is(10, protowire.BytesType):
			s.NextProposer = r.limited("next_proposer_address", maxAddressBytes)
		}
		if err != nil {
			return State{}, fmt.Errorf("state: %w", err)
		}
	}
	if r.err != nil {
		return State{}, fmt.Errorf("state: %w", r.err)
	}
	return s, nil
}

func encodeTimestamp(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	b := appendUint(nil, 1, uint64(t.Unix()))              //nolint:gosec // two's complement is the protobuf form
	return appendUint(b, 2, uint64(int64(t.Nanosecond()))) //nolint:gosec // 0..999999999
}

func decodeTimestamp(b []byte) (time.Time, error) {
	var sec, nanos uint64
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.VarintType):
			sec = r.varint
		case r.is(2, protowire.VarintType):
			nanos = r.varint
		}
	}
	if r.err != nil {
		return time.Time{}, fmt.Errorf("timestamp: %w", r.err)
	}
	if nanos >= uint64(time.Second) || sec > math.MaxInt64 {
		return time.Time{}, fmt.Errorf("timestamp: %d s %d ns is out of range", sec, nanos)
	}
	if sec == 0 && nanos == 0 {
		return time.Time{}, nil
	}
	return time.Unix(int64(sec), int64(nanos)).UTC(), nil
}
