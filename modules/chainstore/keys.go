package chainstore

import (
	"encoding/binary"

	"github.com/tandem-node/tandem/modules/block"
)

// Every key is the store's own byte, one for the kind of record, and for most a
// big-endian height, so that a kind is one ordered run of keys.
const (
	space = 'c'

	nsHeader      = 'h' // height → SignedHeader
	nsHeaderIndex = 'H' // start of a hash → height
	nsData        = 'd' // height → Data
	nsDataIndex   = 'D' // start of a hash → height
	nsState       = 's' // height → State
	nsInclusion   = 'i' // height → Included
	nsEvidence    = 'e' // height, start of the pair's hash → Evidence
	nsQueue       = 'q' // position → transaction that waits for a block
	nsMark        = 'm' // one record per name below
	nsUser        = 'u' // Meta
)

const (
	markHeaders  = "headers"
	markData     = "data"
	markGenesis  = "genesis"
	markPending  = "pending"
	markProgress = "progress"
	markRevert   = "revert"
	markSweep    = "sweep"
)

const (
	heightKeySize = 2 + 8
	// indexHashSize is how much of a hash is in an index key. Reads compare the
	// whole hash with the item found.
	indexHashSize = 16
	indexKeySize  = 2 + indexHashSize
)

type (
	heightKey [heightKeySize]byte
	indexKey  [indexKeySize]byte
)

func keyAt(ns byte, height uint64) (k heightKey) {
	k[0], k[1] = space, ns
	binary.BigEndian.PutUint64(k[2:], height)
	return k
}

// keyEnd returns the first key behind all heights of a kind.
func keyEnd(ns byte) []byte { return []byte{space, ns + 1} }

func keyOf(ns byte, hash block.Hash) (k indexKey) {
	k[0], k[1] = space, ns
	copy(k[2:], hash[:])
	return k
}

func keyNamed(ns byte, name string) []byte {
	return append(append(make([]byte, 0, 2+len(name)), space, ns), name...)
}

func encodeHeight(height uint64) (v [8]byte) {
	binary.BigEndian.PutUint64(v[:], height)
	return v
}
