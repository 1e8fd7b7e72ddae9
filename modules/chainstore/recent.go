package chainstore

import "sync"

const (
	recentSlots    = 4096 // a power of two
	recentOverhead = 512  // bytes of a decoded item beside its encoding
)

// recent keeps the newest items decoded, so that a reader right behind the
// writer gets the writer's object. The lowest heights go first.
type recent[H any] struct {
	max int // bytes

	mu        sync.RWMutex
	slots     []recentSlot[H] // by height modulo the length; allocated on first use
	bytes     int
	low, high uint64 // every filled slot has a height from low to high, and above high-len(slots)
	epoch     uint64 // counts resets
}

type recentSlot[H any] struct {
	height uint64 // 0 is an empty slot
	size   int
	item   H
}

func (r *recent[H]) get(height uint64) (item H, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.at(height)
}

func (r *recent[H]) at(height uint64) (item H, ok bool) {
	if len(r.slots) == 0 || height == 0 {
		return item, false
	}
	s := &r.slots[height%recentSlots]
	return s.item, s.height == height
}

// state returns a number that changes whenever the cache is reset.
func (r *recent[H]) state() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.epoch
}

// reset forgets everything: what was read before it must not come back later.
func (r *recent[H]) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	r.epoch++
}

// forgetBelow forgets the items below a height, which were removed.
func (r *recent[H]) forgetBelow(height uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.low != 0 && r.low <= r.high && r.low < height; r.low++ {
		if i := r.low % recentSlots; r.slots[i].height == r.low {
			r.drop(i)
		}
	}
}

// addRead keeps an item that was read from disk since state returned epoch.
func (r *recent[H]) addRead(epoch, height uint64, item H, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == epoch {
		r.put(height, item, size)
	}
}

// add keeps an item that was just written.
func (r *recent[H]) add(height uint64, item H, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(height, item, size)
}

func (r *recent[H]) put(height uint64, item H, size int) {
	size += recentOverhead
	switch {
	case r.slots == nil:
		r.slots = make([]recentSlot[H], recentSlots)
	case r.high >= recentSlots && height <= r.high-recentSlots:
		return // its slot belongs to a higher one
	case height >= r.high+recentSlots:
		r.clear()
	}
	for h := r.high + 1; h < height && r.low != 0; h++ {
		r.drop(h % recentSlots)
	}
	r.drop(height % recentSlots)
	if size > r.max {
		return
	}
	if r.low == 0 {
		r.low = height
	}
	r.high = max(r.high, height)
	r.low = max(min(r.low, height), r.high-min(r.high, recentSlots-1))
	r.slots[height%recentSlots] = recentSlot[H]{height: height, size: size, item: item}
	for r.bytes += size; r.bytes > r.max; r.low++ {
		if i := r.low % recentSlots; r.slots[i].height == r.low {
			r.drop(i)
		}
	}
}

func (r *recent[H]) drop(slot uint64) {
	r.bytes -= r.slots[slot].size
	r.slots[slot] = recentSlot[H]{}
}

func (r *recent[H]) clear() {
	clear(r.slots)
	r.bytes, r.low, r.high = 0, 0, 0
}
