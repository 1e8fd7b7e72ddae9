package block

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	header "github.com/celestiaorg/go-header"
	"google.golang.org/protobuf/encoding/protowire"
)

var _ header.Header[*Data] = (*Data)(nil)

// Metadata ties data to a height of a chain. Only the transactions are
// committed to by the header; the metadata must repeat what the header says.
type Metadata struct {
	ChainID      string
	Height       uint64
	Time         uint64 // Unix nanoseconds, equals the header's
	LastDataHash []byte // DataHash of the block before; empty at the initial height
}

// Data is the unsigned half of a block: its transactions (evnode.v1.Data). It
// is the item of the data store and of data gossip. Build it with NewData or a
// decoder; never change it afterwards.
type Data struct {
	Metadata *Metadata // nil when absent on the wire
	Txs      [][]byte
	DAHint   uint64 // see SignedHeader.DAHint

	raw        []byte // canonical encoding; Txs alias it
	hash       Hash
	commitment Hash
}

// NewData builds data and computes its hashes. It copies the transactions and
// keeps m, whose LastDataHash comes to lie in the data's own encoding: a hash is
// mostly a part of the data before, and would keep that, and all before it, in
// memory.
func NewData(m *Metadata, txs [][]byte) *Data { return newData(m, slices.Clone(txs)) }

// newData is NewData that keeps the list, whose elements it replaces by copies.
func newData(m *Metadata, txs [][]byte) *Data {
	size := 0
	for _, tx := range txs {
		size += sizeBytes(2, len(tx))
	}
	// The leading zero byte is the prefix of both hashes (evolve-wire §2.3).
	raw := m.appendField(append(make([]byte, 0, 1+m.sizeHint()+size), 0))
	from := len(raw)
	m.own(raw)
	for i, tx := range txs {
		raw = appendBytesAlways(raw, 2, tx)
		txs[i] = raw[len(raw)-len(tx) : len(raw) : len(raw)]
	}
	return &Data{Metadata: m, Txs: txs, raw: raw, hash: Sum(raw), commitment: commit(raw, from)}
}

// commit hashes 0x00 ‖ transactions. Where the transactions do not already
// follow a zero byte, the byte before them is borrowed for the prefix.
func commit(raw []byte, from int) Hash {
	before := raw[from-1]
	raw[from-1] = 0
	sum := Sum(raw[from-1:])
	raw[from-1] = before
	return sum
}

// EmptyData returns the data of a block without transactions, rebuilt from its
// header and the hash of the data before (empty at the initial height).
func EmptyData(h *SignedHeader, lastDataHash []byte) *Data {
	return CanonicalData(h, nil, lastDataHash)
}

// CanonicalData returns the one data item that belongs to the header: the given
// transactions with the metadata the header and the previous data dictate.
func CanonicalData(h *SignedHeader, txs [][]byte, lastDataHash []byte) *Data {
	return NewData(&Metadata{
		ChainID: h.Header.ChainID, Height: h.Header.Height, Time: h.Header.Time, LastDataHash: lastDataHash,
	}, txs)
}

// Commit returns the data commitment of a list of transactions, which is what
// header.data_hash holds.
func Commit(txs [][]byte) Hash { return NewData(nil, txs).commitment }

// DecodeData reads evnode.v1.Data or P2PData; the latter also carries a DA
// hint. The input may be reused afterwards.
func DecodeData(b []byte) (*Data, error) {
	if err := checkSize("data", b); err != nil {
		return nil, err
	}
	var (
		m    *Metadata
		hint uint64
		txs  = make([][]byte, 0, countTxs(b))
	)
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			if m != nil {
				return nil, errTwice("metadata")
			}
			var err error
			if m, err = decodeMetadata(r.bytes); err != nil {
				return nil, err
			}
		case r.is(2, protowire.BytesType):
			txs = append(txs, r.bytes)
		case r.is(3, protowire.VarintType):
			hint = r.varint
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("data: %w", r.err)
	}
	d := newData(m, txs)
	d.DAHint = hint
	return d, nil
}

// txBytes is what a transaction takes in memory beside its bytes, itemBytes the same
// of an item.
const (
	txBytes   = 24
	itemBytes = 512
)

// countTxs returns how many transactions encoded data has, as far as it can be read.
func countTxs(b []byte) (n int) {
	for r := (reader{rest: b}); r.next(); {
		if r.is(2, protowire.BytesType) {
			n++
		}
	}
	return n
}

// HeldData returns what encoded data takes in memory once it is decoded. It allocates
// nothing.
func HeldData(b []byte) int { return len(b) + txBytes*countTxs(b) + itemBytes }

// Held returns the bytes the data takes in memory.
func (d *Data) Held() int { return len(d.raw) + txBytes*len(d.Txs) + itemBytes }

// IsP2P reports whether b is what EncodeP2P returns.
func (d *Data) IsP2P(b []byte) bool {
	hint, ok := bytes.CutPrefix(b, d.raw[1:])
	return ok && bytes.Equal(hint, appendUintAlways(nil, 3, d.DAHint))
}

// decodeMetadata reads the metadata. Its last data hash aliases b.
func decodeMetadata(b []byte) (*Metadata, error) {
	m := &Metadata{}
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			m.ChainID = string(r.limited("chain_id", maxChainIDBytes))
		case r.is(2, protowire.VarintType):
			m.Height = r.varint
		case r.is(3, protowire.VarintType):
			m.Time = r.varint
		case r.is(4, protowire.BytesType):
			m.LastDataHash = r.limited("last_data_hash", maxHashBytes)
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("metadata: %w", r.err)
	}
	if !utf8.ValidString(m.ChainID) {
		return nil, errors.New("metadata: chain id is not valid UTF-8")
	}
	if err := checkRange(m.Height, m.Time); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return m, nil
}

func (m *Metadata) sizeHint() int {
	if m == nil {
		return 0
	}
	return 40 + len(m.ChainID) + len(m.LastDataHash)
}

// appendField writes the metadata as field 1, or nothing when it is absent.
func (m *Metadata) appendField(b []byte) []byte {
	if m == nil {
		return b
	}
	inner := make([]byte, 0, m.sizeHint())
	inner = appendBytes(inner, 1, []byte(m.ChainID))
	inner = appendUint(inner, 2, m.Height)
	inner = appendUint(inner, 3, m.Time)
	inner = appendBytes(inner, 4, m.LastDataHash)
	return appendBytesAlways(b, 1, inner)
}

// own makes the last data hash a part of an encoding that ends with it.
func (m *Metadata) own(raw []byte) {
	if m == nil {
		return
	}
	if n := len(m.LastDataHash); n > 0 {
		m.LastDataHash = raw[len(raw)-n : len(raw) : len(raw)]
	} else {
		m.LastDataHash = nil
	}
}

// Encode returns evnode.v1.Data. The caller must not change the result.
func (d *Data) Encode() []byte { return d.raw[1:len(d.raw):len(d.raw)] }

// EncodeP2P returns P2PData, the body of gossip and of range responses. The
// hint is written even when zero.
func (d *Data) EncodeP2P() []byte {
	b := append(make([]byte, 0, len(d.raw)+11), d.raw[1:]...)
	return appendUintAlways(b, 3, d.DAHint)
}

// Size returns the length of Encode's result, in bytes.
func (d *Data) Size() int { return len(d.raw) - 1 }

// WithDAHint returns the same data with another DA hint.
func (d *Data) WithDAHint(daHeight uint64) *Data {
	c := *d
	c.DAHint = daHeight
	return &c
}

// Commitment returns the hash of the transactions alone: header.data_hash.
func (d *Data) Commitment() Hash { return d.commitment }

// Digest returns the data hash, metadata included; Hash returns it as a slice.
func (d *Data) Digest() Hash { return d.hash }

// New implements header.Header.
func (d *Data) New() *Data { return new(Data) }

// IsZero implements header.Header.
func (d *Data) IsZero() bool { return d == nil }

// ChainID implements header.Header; it is empty when there is no metadata.
func (d *Data) ChainID() string {
	if d.Metadata == nil {
		return ""
	}
	return d.Metadata.ChainID
}

// Hash implements header.Header. The caller must not change the result.
func (d *Data) Hash() header.Hash { return d.hash[:] }

// Height implements header.Header; it is 0 when there is no metadata.
func (d *Data) Height() uint64 {
	if d.Metadata == nil {
		return 0
	}
	return d.Metadata.Height
}

// LastHeader implements header.Header with the hash of the data before.
func (d *Data) LastHeader() header.Hash {
	if d.Metadata == nil {
		return nil
	}
	return d.Metadata.LastDataHash
}

// Time implements header.Header; it is the zero time when there is no metadata.
func (d *Data) Time() time.Time {
	if d.Metadata == nil {
		return time.Time{}
	}
	return unixNano(d.Metadata.Time)
}

// MarshalBinary implements header.Header with the P2P form.
func (d *Data) MarshalBinary() ([]byte, error) { return d.EncodeP2P(), nil }

// UnmarshalBinary implements header.Header with the P2P form.
func (d *Data) UnmarshalBinary(b []byte) error {
	n, err := DecodeData(b)
	if err != nil {
		return err
	}
	*d = *n
	return nil
}
