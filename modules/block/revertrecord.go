package block

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

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
