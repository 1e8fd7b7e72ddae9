package daworker

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tandem-node/tandem/modules/block"
)

// maxWanted bounds the headers whose data is awaited, in items of about wantedBytes.
const maxWanted, wantedBytes = 16 << 10, 256

// wanted remembers the headers seen on DA whose data was not seen yet, so that
// data is recognised by what it is, not by what its metadata says.
type wanted struct {
	byHeight map[uint64]want
	byHash   map[block.Hash][]uint64
}

type want struct {
	commitment block.Hash
	da         uint64 // where the header was seen
}

func newWanted() *wanted {
	return &wanted{byHeight: make(map[uint64]want), byHash: make(map[block.Hash][]uint64)}
}

// add keeps the first header of a height. When there are too many, the lower
// half is forgotten: data that repeats its header's height needs no entry.
func (w *wanted) add(height uint64, c block.Hash, daHeight uint64) {
	if _, ok := w.byHeight[height]; ok {
		return
	}
	if len(w.byHeight) >= maxWanted {
		heights := slices.SortedFunc(maps.Keys(w.byHeight), cmp.Compare[uint64])
		for _, h := range heights[:len(heights)/2] {
			w.remove(h)
		}
	}
	w.byHeight[height] = want{c, daHeight}
	w.byHash[c] = append(w.byHash[c], height)
}

func (w *wanted) remove(height uint64) {
	e, ok := w.byHeight[height]
	if !ok {
		return
	}
	delete(w.byHeight, height)
	if w.byHash[e.commitment] = without(w.byHash[e.commitment], height); len(w.byHash[e.commitment]) == 0 {
		delete(w.byHash, e.commitment)
	}
}

// heights returns the heights that wait for data with the commitment: blocks with
// the same transactions have the same one.
func (w *wanted) heights(c block.Hash) []uint64 { return slices.Clone(w.byHash[c]) }
