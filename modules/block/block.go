package block

import "time"

// Source says where a block came from.
type Source uint8

// The sources of a block.
const (
	SourceP2P   Source = iota + 1 // gossip or a range request
	SourceDA                      // read from the data-availability layer
	SourceLocal                   // produced by this node
)

// String returns the source as it appears in logs, metrics and the API.
func (s Source) String() string {
	switch s {
	case SourceP2P:
		return "p2p"
	case SourceDA:
		return "da"
	case SourceLocal:
		return "local"
	default:
		return "unknown"
	}
}

// Block is a header and the data it commits to. Data is nil on nodes that keep
// headers only.
type Block struct {
	Header *SignedHeader
	Data   *Data
}

// Height returns the header's height.
func (b Block) Height() uint64 { return b.Header.Height() }

// Size returns the encoded length of both halves, in bytes.
func (b Block) Size() int {
	if b.Data == nil {
		return b.Header.Size()
	}
	return b.Header.Size() + b.Data.Size()
}

// Execution is what an executor gets to run one block.
type Execution struct {
	Height   uint64
	Time     time.Time // the header's, UTC
	Txs      [][]byte  // read only
	PrevRoot []byte    // state root the block builds on
}

// ExecResult is what an executor returns for one block.
type ExecResult struct {
	StateRoot    []byte // any length; becomes app_hash of the next header
	NextProposer []byte // address that must sign the next block; empty keeps the current one
}

// Inclusion says that one half of a block was read from DA. The first one in DA
// order stands.
type Inclusion struct {
	Height   uint64
	Kind     Kind
	Hash     Hash // header hash, or data commitment
	DAHeight uint64
	// Header is set when the node has stored another header at this height: it
	// is the one from DA, the second half of a proof.
	Header *SignedHeader
}

// Kind tells the two halves of a block apart.
type Kind uint8

// The halves of a block.
const (
	KindHeader Kind = iota + 1
	KindData
)

// String returns "header" or "data".
func (k Kind) String() string {
	switch k {
	case KindHeader:
		return "header"
	case KindData:
		return "data"
	default:
		return "unknown"
	}
}
