package sequencer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// trouble reports a failure that goes on once, and once that it is over.
type trouble struct {
	log    *zap.Logger
	failed string // log message
	over   string // log message

	mu    sync.Mutex
	last  string
	since time.Time
	count int
}

// note records a failure.
func (t *trouble) note(err error, fields ...zap.Field) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err.Error()
	t.count++
	if t.count == 1 {
		t.since = time.Now()
		t.log.Warn(t.failed, append(fields, zap.Error(err))...)
	}
}

// clear records a success.
func (t *trouble) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count > 0 {
		t.log.Info(t.over, zap.Int("failures", t.count), zap.Duration("after", time.Since(t.since)))
	}
	t.count, t.last = 0, ""
}

// lasts returns for how long the failure goes on.
func (t *trouble) lasts() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 {
		return 0
	}
	return time.Since(t.since)
}

// text returns the failure that goes on, or nothing.
func (t *trouble) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// permanent reports whether trying again cannot help.
func permanent(err error) bool {
	if _, ok := errors.AsType[*block.Violation](err); ok {
		return true
	}
	if _, ok := errors.AsType[*block.Conflict[*block.SignedHeader]](err); ok {
		return true
	}
	if _, ok := errors.AsType[*block.Conflict[*block.Data]](err); ok {
		return true
	}
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// backoff is a wait that doubles.
type backoff struct {
	first, most time.Duration
	next        time.Duration
}

// step returns the next wait, with up to a fifth of jitter on top.
func (b *backoff) step() time.Duration {
	d := min(max(b.next, b.first), b.most)
	b.next = 2 * d
	return d + rand.N(d/5+1) //nolint:gosec // spreads load, keeps no secret
}

func (b *backoff) reset() { b.next = 0 }

// sleep waits for d, or until ctx ends or one of wake delivers. It reports
// whether the time has passed.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) (bool, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-wake:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// await waits until wake delivers or ctx ends.
func await(ctx context.Context, wake <-chan struct{}) error {
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
