package exchange

import (
	"sync"
	"sync/atomic"
	"time"
)

// budget bounds bytes in use.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes, or reports that there is no room.
func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.limit {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// quiet notices when a stream of messages has ended.
type quiet struct {
	mu       sync.Mutex
	last     time.Time
	watching bool
}

// note records a message and reports whether it begins a stream.
func (q *quiet) note(at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = at
	first := !q.watching
	q.watching = true
	return first
}

// over reports, once per stream, that nothing came for a while; before that it
// returns when to look again.
func (q *quiet) over(now time.Time, after time.Duration) (over bool, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.watching {
		return false, time.Time{}
	}
	if at = q.last.Add(after); at.After(now) {
		return false, at
	}
	q.watching = false
	return true, time.Time{}
}
