package block

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Size limits of the wire, in bytes (evolve-wire §5.4, §5.5, §6.1).
const (
	MaxBlobBytes     = 5 << 20
	MaxFrameBytes    = 2 * MaxBlobBytes
	maxUnknownBytes  = 1 << 20
	maxLegacyBytes   = 1 << 10
	maxChainIDBytes  = 256
	maxAddressBytes  = 256
	maxHashBytes     = 256
	maxPubKeyBytes   = 4 << 10
	maxSignatureSize = 4 << 10
)

// ErrTooLarge is wrapped by every decode error that is about size.
var ErrTooLarge = errors.New("too large")

// reader walks the fields of one protobuf message. Fields come out one by one
// through next; the value is in varint or bytes, by wire type.
type reader struct {
	rest   []byte
	num    protowire.Number
	typ    protowire.Type
	varint uint64
	bytes  []byte
	size   int // bytes of the whole field, tag included
	err    error
}

func (r *reader) next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(r.rest)
	if n < 0 {
		return r.fail(n)
	}
	var m int
	switch typ {
	case protowire.VarintType:
		r.varint, m = protowire.ConsumeVarint(r.rest[n:])
	case protowire.BytesType:
		r.bytes, m = protowire.ConsumeBytes(r.rest[n:])
	default:
		m = protowire.ConsumeFieldValue(num, typ, r.rest[n:])
	}
	if m < 0 {
		return r.fail(m)
	}
	r.num, r.typ, r.size, r.rest = num, typ, n+m, r.rest[n+m:]
	return true
}

func (r *reader) fail(n int) bool {
	r.err = protowire.ParseError(n)
	return false
}

// is reports whether the current field is number num with wire type typ. A
// known number with another wire type is an unknown field, as in protobuf.
func (r *reader) is(num protowire.Number, typ protowire.Type) bool {
	return r.num == num && r.typ == typ
}

// limited returns the current bytes field, or fails when it is over most.
func (r *reader) limited(what string, most int) []byte {
	if len(r.bytes) > most {
		r.err = fmt.Errorf("%s has %d bytes, at most %d allowed: %w", what, len(r.bytes), most, ErrTooLarge)
		return nil
	}
	return r.bytes
}

func checkSize(what string, b []byte) error {
	if len(b) > MaxFrameBytes {
		return fmt.Errorf("%s has %d bytes, at most %d allowed: %w", what, len(b), MaxFrameBytes, ErrTooLarge)
	}
	return nil
}

func errTwice(what string) error { return fmt.Errorf("%s appears twice", what) }

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return appendUintAlways(b, num, v)
}

func appendUintAlways(b []byte, num protowire.Number, v uint64) []byte {
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return appendBytesAlways(b, num, v)
}

func appendBytesAlways(b []byte, num protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func sizeBytes(num protowire.Number, n int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(n)
}
