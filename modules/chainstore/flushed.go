package chainstore

import "sync"

// flushed knows the highest state that a power cut leaves. Commits that are not
// synced become durable when the database syncs its journal for a reason of its own.
type flushed struct {
	mu      sync.Mutex
	height  uint64
	pending []pendingState // ascending
}

// pendingState is a state that is durable once so many writes of the database are.
type pendingState struct{ writes, height uint64 }

// maxPending bounds the states that are told apart; with more, the newest counts as
// durable only when the ones behind it are.
const maxPending = 1024

// set says that everything up to a height is durable, and that nothing is above it.
func (f *flushed) set(height uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.height, f.pending = height, f.pending[:0]
}

// add says that a height was written and is durable with so many writes.
func (f *flushed) add(height, writes, durable uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(durable)
	if n := len(f.pending); n == maxPending {
		f.pending[n-1] = pendingState{writes, height}
		return
	}
	f.pending = append(f.pending, pendingState{writes, height})
}

// upTo returns the highest durable height.
func (f *flushed) upTo(durable uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(durable)
	return f.height
}

func (f *flushed) settle(durable uint64) {
	n := 0
	for n < len(f.pending) && f.pending[n].writes <= durable {
		f.height = f.pending[n].height
		n++
	}
	f.pending = append(f.pending[:0], f.pending[n:]...)
}

// Flushed returns the height of the newest state that is on the disk for certain: a
// power cut takes nothing of it or below it. It is never too high.
func (s *Store) Flushed() uint64 { return s.flushed.upTo(s.db.Durable()) }

// noteState says that the newest state was written.
func (s *Store) noteState(height uint64, synced bool) {
	if synced {
		s.flushed.set(height)
		return
	}
	s.flushed.add(height, s.db.Written(), s.db.Durable())
}
