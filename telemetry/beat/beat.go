// Package beat lets somebody outside see whether a loop is still serviced. The
// loop says when it takes up one item of work and when it waits for the next; who
// wants to know asks. Nothing runs meanwhile: no timer, no goroutine, no cost when
// idle.
package beat

import (
	"sync/atomic"
	"time"
)

// Beat is that of one loop. The zero value is idle.
type Beat struct{ since atomic.Int64 }

// Busy says that the loop takes up the next item. What went before is done.
func (b *Beat) Busy() { b.since.Store(time.Now().UnixNano()) }

// Idle says that the loop waits for something that need not ever come.
func (b *Beat) Idle() { b.since.Store(0) }

// For returns how long the loop has been busy with the item it is at; 0 when idle.
func (b *Beat) For(now time.Time) time.Duration {
	since := b.since.Load()
	if since == 0 {
		return 0
	}
	return max(now.Sub(time.Unix(0, since)), 0)
}
