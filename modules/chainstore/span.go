package chainstore

import (
	"encoding/binary"
	"fmt"
)

// span says which heights a chain holds. Without gaps bottom equals tail and
// top equals head. The zero value is an empty chain.
type span struct {
	tail, head uint64 // every height from tail to head is stored
	// Outside [bottom, top] nothing is stored, or it is left over from a removal
	// and must not be seen. Between them and the chain there may be gaps.
	bottom, top uint64
}

const spanSize = 4 * 8

func (s span) empty() bool { return s.head == 0 }

// mayHold reports whether there can be an item at height.
func (s span) mayHold(height uint64) bool { return height >= s.bottom && height <= s.top && !s.empty() }

// has reports whether height is part of the contiguous chain.
func (s span) has(height uint64) bool { return height >= s.tail && height <= s.head && !s.empty() }

// upTo returns the span without the heights above to. When the contiguous part
// is gone the chain is empty.
func (s span) upTo(to uint64) span {
	if s.empty() || to < s.tail {
		return span{}
	}
	s.head, s.top = min(s.head, to), min(s.top, to)
	return s
}

// with returns the span after the heights from low to high were added to it;
// first is the one that starts an empty chain.
func (s span) with(first, low, high uint64) span {
	if s.empty() {
		s = span{tail: first, head: first, bottom: first, top: first}
	}
	s.bottom, s.top = min(s.bottom, low), max(s.top, high)
	return s
}

func (s span) encode() (b [spanSize]byte) {
	for i, n := range [...]uint64{s.tail, s.head, s.bottom, s.top} {
		binary.BigEndian.PutUint64(b[8*i:], n)
	}
	return b
}

func decodeSpan(b []byte) (span, error) {
	if len(b) != spanSize {
		return span{}, fmt.Errorf("heights have %d bytes, want %d", len(b), spanSize)
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	s := span{tail: at(0), head: at(1), bottom: at(2), top: at(3)}
	if s.bottom > s.tail || s.tail > s.head || s.head > s.top {
		return span{}, fmt.Errorf("heights %d ≤ %d ≤ %d ≤ %d are out of order", s.bottom, s.tail, s.head, s.top)
	}
	return s, nil
}
