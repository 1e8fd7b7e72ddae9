package block

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Version is the protocol version a header carries. Evolve chains carry {0,0}.
type Version struct {
	Block uint64
	App   uint64
}

// Legacy holds the fields of headers from before header minimisation; all are
// empty on new chains (evolve-wire §2.2).
type Legacy struct {
	LastCommitHash  []byte // field 5
	ConsensusHash   []byte // field 7
	LastResultsHash []byte // field 9
}

// IsZero reports whether no legacy field is set.
func (l Legacy) IsZero() bool {
	return len(l.LastCommitHash)+len(l.ConsensusHash)+len(l.LastResultsHash) == 0
}

// Header is the signed half of a block (evnode.v1.Header).
type Header struct {
	Version         Version
	Height          uint64
	Time            uint64 // Unix nanoseconds
	LastHeaderHash  []byte // 32 bytes; empty at the initial height
	DataHash        []byte // commitment to the transactions, 32 bytes
	AppHash         []byte // state root before this block, any length
	ProposerAddress []byte // 32 bytes
	ValidatorHash   []byte // empty by default
	ChainID         string
	Legacy          Legacy
}

// Encode returns the canonical ("slim") encoding: the bytes that are signed.
func (h *Header) Encode() []byte { return h.append(make([]byte, 0, h.sizeHint())) }

// EncodeLegacy returns the encoding of headers from before header minimisation.
func (h *Header) EncodeLegacy() []byte {
	b := h.appendVersion(make([]byte, 0, h.sizeHint()+HashSize))
	b = appendUintAlways(b, 2, h.Height)
	b = appendUintAlways(b, 3, h.Time)
	b = appendBytes(b, 4, h.LastHeaderHash)
	b = appendBytes(b, 5, h.Legacy.LastCommitHash)
	b = appendBytes(b, 6, h.DataHash)
	if len(h.Legacy.ConsensusHash) == 0 {
		b = appendBytesAlways(b, 7, make([]byte, HashSize))
	} else {
		b = appendBytes(b, 7, h.Legacy.ConsensusHash)
	}
	b = appendBytes(b, 8, h.AppHash)
	b = appendBytes(b, 9, h.Legacy.LastResultsHash)
	b = appendBytes(b, 10, h.ProposerAddress)
	b = appendBytes(b, 11, h.ValidatorHash)
	return appendBytes(b, 12, []byte(h.ChainID))
}

// ComputeHash returns the hash other headers link to: SHA-256 of the slim
// encoding, or of the legacy encoding when legacy fields are set.
func (h *Header) ComputeHash() Hash { return h.hashOf(nil) }

// hashOf is ComputeHash for a header whose slim encoding is already at hand.
func (h *Header) hashOf(slim []byte) Hash {
	if !h.Legacy.IsZero() {
		return Sum(h.EncodeLegacy())
	}
	if slim == nil {
		slim = h.Encode()
	}
	return Sum(slim)
}

func (h *Header) append(b []byte) []byte {
	b = h.appendVersion(b)
	b = appendUint(b, 2, h.Height)
	b = appendUint(b, 3, h.Time)
	b = appendBytes(b, 4, h.LastHeaderHash)
	b = appendBytes(b, 6, h.DataHash)
	b = appendBytes(b, 8, h.AppHash)
	b = appendBytes(b, 10, h.ProposerAddress)
	b = appendBytes(b, 11, h.ValidatorHash)
	if h.ChainID != "" {
		b = protowire.AppendTag(b, 12, protowire.BytesType)
		b = protowire.AppendString(b, h.ChainID)
	}
	b = appendBytes(b, 5, h.Legacy.LastCommitHash)
	b = appendBytes(b, 7, h.Legacy.ConsensusHash)
	return appendBytes(b, 9, h.Legacy.LastResultsHash)
}

func (h *Header) appendVersion(b []byte) []byte { return h.Version.appendField(b) }

// appendField writes the version as field 1, which is there even when empty.
func (v Version) appendField(b []byte) []byte {
	n := 0
	if v.Block != 0 {
		n += 1 + protowire.SizeVarint(v.Block)
	}
	if v.App != 0 {
		n += 1 + protowire.SizeVarint(v.App)
	}
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	b = appendUint(b, 1, v.Block)
	return appendUint(b, 2, v.App)
}

func (h *Header) sizeHint() int {
	const fixed = 64 // version, height, time, tags and lengths
	return fixed + len(h.LastHeaderHash) + len(h.DataHash) + len(h.AppHash) + len(h.ProposerAddress) +
		len(h.ValidatorHash) + len(h.ChainID) + len(h.Legacy.LastCommitHash) + len(h.Legacy.ConsensusHash) +
		len(h.Legacy.LastResultsHash)
}

// decodeHeader reads a Header. The byte fields of the result alias b.
func decodeHeader(b []byte) (Header, error) {
	var (
		h       Header
		unknown int
		seen    bool
	)
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.BytesType):
			if seen {
				return Header{}, errTwice("version")
			}
			seen = true
			v, err := decodeVersion(r.bytes)
			if err != nil {
				return Header{}, err
			}
			h.Version = v
		case r.is(2, protowire.VarintType):
			h.Height = r.varint
		case r.is(3, protowire.VarintType):
			h.Time = r.varint
		case r.typ == protowire.BytesType && h.setBytes(&r):
			if r.num == 5 || r.num == 7 || r.num == 9 {
				unknown += r.size // to ev-node the legacy fields are unknown ones
			}
		default:
			unknown += r.size
		}
	}
	switch {
	case r.err != nil:
		return Header{}, fmt.Errorf("header: %w", r.err)
	case unknown > maxUnknownBytes:
		return Header{}, fmt.Errorf("header: %d bytes of unknown fields: %w", unknown, ErrTooLarge)
	case !utf8.ValidString(h.ChainID):
		return Header{}, errors.New("header: chain id is not valid UTF-8")
	}
	if err := checkRange(h.Height, h.Time); err != nil {
		return Header{}, fmt.Errorf("header: %w", err)
	}
	return h, nil
}

// setBytes stores the current bytes field and reports whether it is a known one.
func (h *Header) setBytes(r *reader) bool {
	switch r.num {
	case 4:
		h.LastHeaderHash = r.limited("last_header_hash", maxHashBytes)
	case 5:
		h.Legacy.LastCommitHash = r.limited("last_commit_hash", maxLegacyBytes)
	case 6:
		h.DataHash = r.limited("data_hash", maxHashBytes)
	case 7:
		h.Legacy.ConsensusHash = r.limited("consensus_hash", maxLegacyBytes)
	case 8:
		h.AppHash = r.limited("app_hash", MaxBlobBytes)
	case 9:
		h.Legacy.LastResultsHash = r.limited("last_results_hash", maxLegacyBytes)
	case 10:
		h.ProposerAddress = r.limited("proposer_address", maxAddressBytes)
	case 11:
		h.ValidatorHash = r.limited("validator_hash", maxHashBytes)
	case 12:
		h.ChainID = string(r.limited("chain_id", maxChainIDBytes))
	default:
		return false
	}
	return true
}

func decodeVersion(b []byte) (Version, error) {
	var v Version
	r := reader{rest: b}
	for r.next() {
		switch {
		case r.is(1, protowire.VarintType):
			v.Block = r.varint
		case r.is(2, protowire.VarintType):
			v.App = r.varint
		}
	}
	if r.err != nil {
		return Version{}, fmt.Errorf("version: %w", r.err)
	}
	return v, nil
}

// DecodeHeader reads a Header on its own, as it is signed.
func DecodeHeader(b []byte) (Header, error) {
	if err := checkSize("header", b); err != nil {
		return Header{}, err
	}
	return decodeHeader(bytes.Clone(b))
}
