package pipeline

import "github.com/tandem-node/tandem/modules/block"

// recentBlocks is how many applied blocks are remembered, about 80 KiB.
const recentBlocks = 1024

// mark is what is remembered of an applied block.
type mark struct {
	height     uint64
	hash       block.Hash
	commitment block.Hash // of the data; the empty one when the header has none
	empty      bool       // such data is never on DA
}

func markOf(h *block.SignedHeader) mark {
	m := mark{height: h.Height(), hash: h.Digest(), empty: h.IsEmpty()}
	if m.empty {
		m.commitment = block.EmptyCommitment()
	} else {
		copy(m.commitment[:], h.Header.DataHash)
	}
	return m
}

// recent is a ring of marks by height.
type recent struct{ marks [recentBlocks]mark }

func (r *recent) put(m mark) { r.marks[m.height%recentBlocks] = m }

func (r *recent) at(height uint64) (mark, bool) {
	m := r.marks[height%recentBlocks]
	return m, m.height == height && height != 0
}
