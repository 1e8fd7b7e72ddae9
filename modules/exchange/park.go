package exchange

import (
	"sync"

	"github.com/tandem-node/tandem/modules/block"
)

// park holds checked items that arrived ahead of their turn: one per height,
// within a window above the head, bounded by bytes. The farthest give way. Its
// lock only guards the sizes; callers hold the exchange's.
type park[H Item[H]] struct {
	mu      sync.Mutex
	items   map[uint64]H
	bytes   int64
	heights uint64
	limit   int64
	top     uint64 // no item is above
}

func (p *park[H]) init(heights, bytes int) {
	p.items = make(map[uint64]H)
	p.heights = uint64(max(heights, 0))
	p.limit = int64(bytes)
}

// put keeps the item if it is within reach of head and there is room.
func (p *park[H]) put(head uint64, item H) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	height, size := item.Height(), int64(item.Held())
	if height-head > p.heights || size > p.limit {
		return false
	}
	for p.bytes+size > p.limit {
		for _, ok := p.items[p.top]; !ok && p.top > 0; _, ok = p.items[p.top] {
			p.top--
		}
		if p.top <= height {
			return false
		}
		p.drop(p.top)
	}
	p.items[height] = item
	p.bytes += size
	p.top = max(p.top, height)
	return true
}

// get returns the item at a height.
func (p *park[H]) get(height uint64) (H, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	item, ok := p.items[height]
	return item, ok
}

// highest returns the highest height that is parked, or 0.
func (p *park[H]) highest() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var top uint64
	for height := range p.items {
		top = max(top, height)
	}
	return top
}

// clear forgets all.
func (p *park[H]) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.items)
	p.bytes = 0
}

// run returns the unbroken run of items that starts at a height.
func (p *park[H]) run(from uint64, most int) []H {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []H
	for len(out) < most {
		item, ok := p.items[from]
		if !ok {
			break
		}
		out = append(out, item)
		from++
	}
	return out
}

// next returns the lowest height in [from, to) that is parked, or to.
func (p *park[H]) next(from, to uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for height := range p.items {
		if height >= from && height < to {
			to = height
		}
	}
	return to
}

// upTo forgets everything up to a height.
func (p *park[H]) upTo(height uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.items {
		if at <= height {
			p.drop(at)
		}
	}
}

// remove forgets one height.
func (p *park[H]) remove(height uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(height)
}

func (p *park[H]) drop(height uint64) {
	item, ok := p.items[height]
	if !ok {
		return
	}
	p.bytes -= int64(item.Held())
	delete(p.items, height)
}

func (p *park[H]) size() (items int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.items), p.bytes
}

// seen remembers the last few hashes.
type seen struct {
	ring [16]block.Hash
	at   int
}

// first reports whether h was not among the last few.
func (s *seen) first(h block.Hash) bool {
	for _, old := range s.ring {
		if old == h {
			return false
		}
	}
	s.ring[s.at%len(s.ring)] = h
	s.at++
	return true
}
