// Package beat lets somebody outside see whether a loop is still serviced. The
// loop says when it takes up one item of work and when it waits for the next; who
// wants to know asks. Nothing runs meanwhile: no timer, no goroutine, no cost when
// idle. The wall clock may be set at any time; it has no part in this.
package beat

import (
	"sync/atomic"
	"time"
)

// Beat is that of one loop. The zero value is idle.
type Beat struct{ since atomic.Int64 } // on the monotonic clock, since start; 0 when idle

// start carries a reading of the monotonic clock.
var start = time.Now() //nolint:gochecknoglobals // never changes

// Busy says that the loop takes up the next item. What went before is done.
func (b *Beat) Busy() {
	since := int64(time.Since(start))
	if since == 0 {
		since = 1 // 0 is idle
	}
	b.since.Store(since)
}

// Idle says that the loop waits for something that need not ever come.
func (b *Beat) Idle() { b.since.Store(0) }

// For returns how long the loop has been busy with the item it is at; 0 when idle.
// The time must be one of time.Now.
func (b *Beat) For(now time.Time) time.Duration {
	since := b.since.Load()
	if since == 0 {
		return 0
	}
	return max(now.Sub(start)-time.Duration(since), 0)
}
