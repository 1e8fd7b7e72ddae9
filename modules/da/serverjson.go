package da

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/celestiaorg/go-square/v3/share"
)

// rpcNamespace is a namespace in parameters, checked while it is decoded, so that
// a bad one is a decoding error as on a real node.
type rpcNamespace Namespace

// UnmarshalJSON accepts 29 bytes of base64 of a known version.
func (n *rpcNamespace) UnmarshalJSON(raw []byte) error {
	var buf []byte
	if err := json.Unmarshal(raw, &buf); err != nil {
		return err
	}
	if _, err := share.NewNamespaceFromBytes(buf); err != nil {
		return err
	}
	copy(n[:], buf)
	return nil
}

// rpcBlob is a blob in parameters and results.
type rpcBlob struct {
	Namespace    []byte `json:"namespace"`
	Data         []byte `json:"data"`
	ShareVersion uint8  `json:"share_version"`
	Commitment   []byte `json:"commitment"`
	Signer       []byte `json:"signer,omitempty"`
	Index        int    `json:"index"`
}

// UnmarshalJSON refuses what cannot be a blob.
func (b *rpcBlob) UnmarshalJSON(raw []byte) error {
	type plain rpcBlob
	if err := json.Unmarshal(raw, (*plain)(b)); err != nil {
		return err
	}
	ns, err := share.NewNamespaceFromBytes(b.Namespace)
	if err != nil {
		return err
	}
	if err := ns.ValidateForBlob(); err != nil {
		return fmt.Errorf("invalid user namespace: %w", err)
	}
	if len(b.Signer) == 0 {
		b.Signer = nil
	}
	_, err = share.NewBlob(ns, b.Data, b.ShareVersion, b.Signer)
	return err
}

// encodeBlobs is null for no blobs.
func encodeBlobs(blobs []*ledgerBlob) []*rpcBlob {
	var out []*rpcBlob
	for _, b := range blobs {
		out = append(out, encodeBlob(b))
	}
	return out
}

func encodeBlob(b *ledgerBlob) *rpcBlob {
	return &rpcBlob{
		Namespace:    b.Namespace[:],
		Data:         b.Data,
		ShareVersion: b.version,
		Commitment:   b.Commitment[:],
		Signer:       b.signer,
		Index:        int(b.index),
	}
}

// hexBytes are bytes in upper-case hex.
type hexBytes []byte

// MarshalText returns the hex digits.
func (h hexBytes) MarshalText() ([]byte, error) {
	return []byte(strings.ToUpper(hex.EncodeToString(h))), nil
}

// quoted is a 64-bit integer as a string, as CometBFT's encoder writes it. The
// encoder of Go writes the same fields as numbers; a node uses both.
type quoted uint64

// MarshalJSON returns the decimal digits in quotes.
func (q quoted) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatUint(uint64(q), 10)), nil
}

type blockID struct {
	Hash  hexBytes `json:"hash"`
	Parts struct {
		Total uint32   `json:"total"`
		Hash  hexBytes `json:"hash"`
	} `json:"parts"`
}

func newBlockID(hash []byte) blockID {
	id := blockID{Hash: hash}
	if len(hash) > 0 {
		id.Parts.Total, id.Parts.Hash = 1, prefixedHash('p', hash, nil)
	}
	return id
}

// rawHeader is a block header with 64-bit integers as strings or as numbers.
type rawHeader[N quoted | uint64] struct {
	Version struct {
		Block N `json:"block"`
		App   N `json:"app"`
	} `json:"version"`
	ChainID            string    `json:"chain_id"`
	Height             N         `json:"height"`
	Time               time.Time `json:"time"`
	LastBlockID        blockID   `json:"last_block_id"`
	LastCommitHash     hexBytes  `json:"last_commit_hash"`
	DataHash           hexBytes  `json:"data_hash"`
	ValidatorsHash     hexBytes  `json:"validators_hash"`
	NextValidatorsHash hexBytes  `json:"next_validators_hash"`
	ConsensusHash      hexBytes  `json:"consensus_hash"`
	AppHash            hexBytes  `json:"app_hash"`
	LastResultsHash    hexBytes  `json:"last_results_hash"`
	EvidenceHash       hexBytes  `json:"evidence_hash"`
	ProposerAddress    hexBytes  `json:"proposer_address"`
}

// extendedHeader is the answer of the header methods. There are no validators
// behind the local chain, so nothing on it can be verified as consensus.
type extendedHeader[N quoted | uint64] struct {
	Header rawHeader[N] `json:"header"`
	Commit struct {
		Height     N          `json:"height"`
		Round      int32      `json:"round"`
		BlockID    blockID    `json:"block_id"`
		Signatures []struct{} `json:"signatures"`
	} `json:"commit"`
	ValidatorSet struct {
		Validators []struct{} `json:"validators"`
		Proposer   *struct{}  `json:"proposer"`
	} `json:"validator_set"`
	DAH struct {
		RowRoots    [][]byte `json:"row_roots"`
		ColumnRoots [][]byte `json:"column_roots"`
	} `json:"dah"`
	// The top level has these in compatibility mode only.
	Height *quoted    `json:"height,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
}

// blobEvent is one event of blob.Subscribe. Its keys are capitalised and its
// heights are numbers: Go's own encoder made it.
type blobEvent struct {
	Blobs  []*rpcBlob
	Height uint64
	Header *rawHeader[uint64]
}

// Versions in every header.
const (
	blockVersion = 11
	appVersion   = 9
)

// encodeHeader fills a header; last is the one before, nil for the first block.
func encodeHeader[N quoted | uint64](chainID string, h ledgerHeader, last *ledgerHeader) rawHeader[N] {
	out := rawHeader[N]{
		ChainID:            chainID,
		Height:             N(h.height),
		Time:               h.time,
		DataHash:           h.dataHash(),
		ValidatorsHash:     prefixedHash('v', []byte(chainID), nil),
		NextValidatorsHash: prefixedHash('v', []byte(chainID), nil),
		ConsensusHash:      prefixedHash('c', []byte(chainID), nil),
		AppHash:            prefixedHash('a', []byte(chainID), h.digest.sum[:]),
		LastResultsHash:    merkleRoot(nil),
		EvidenceHash:       merkleRoot(nil),
		ProposerAddress:    account(chainID),
	}
	out.Version.Block, out.Version.App = blockVersion, appVersion
	if last != nil {
		hash := last.hash(chainID)
		out.LastBlockID = newBlockID(hash)
		out.LastCommitHash = prefixedHash('l', hash, nil)
	}
	return out
}

// extend wraps a header as the header methods answer it.
func extend[N quoted | uint64](chainID string, h ledgerHeader, last *ledgerHeader) *extendedHeader[N] {
	out := &extendedHeader[N]{Header: encodeHeader[N](chainID, h, last)}
	out.Commit.Height = N(h.height)
	out.Commit.BlockID = newBlockID(h.hash(chainID))
	out.Commit.Signatures = []struct{}{}
	out.ValidatorSet.Validators = []struct{}{}
	out.DAH.RowRoots, out.DAH.ColumnRoots = h.digest.roots()
	return out
}
