package chainstore

import "sync"

// waiters are callers that wait for a height to be stored.
type waiters struct {
	mu sync.Mutex
	by map[uint64]*waiter
}

type waiter struct {
	ready chan struct{} // closed when it is worth looking again
	count int
}

// join returns the waiter of a height. Look for the item after join and before
// waiting, and call leave in any case.
func (w *waiters) join(height uint64) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.by[height]
	if one == nil {
		if w.by == nil {
			w.by = make(map[uint64]*waiter)
		}
		one = &waiter{ready: make(chan struct{})}
		w.by[height] = one
	}
	one.count++
	return one
}

func (w *waiters) leave(height uint64, one *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one.count--
	if one.count == 0 && w.by[height] == one {
		delete(w.by, height)
	}
}

// wake lets everybody go who waits for a height that may be there now.
func (w *waiters) wake(s span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for height, one := range w.by {
		if s.mayHold(height) || height < s.tail {
			close(one.ready)
			delete(w.by, height)
		}
	}
}
