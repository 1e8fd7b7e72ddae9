package sequencer

import (
	"context"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// cadence knows when the next block is due. It uses the monotonic clock, so
// that a stepped wall clock changes no interval.
type cadence struct {
	cfg     Config
	blockAt time.Time // not before
	lazyAt  time.Time // at the latest, in lazy mode
}

// start goes on where the chain stopped; wall is the wall clock.
func (c *cadence) start(st block.State, wall time.Time) {
	now := time.Now()
	c.blockAt, c.lazyAt = now, now
	if !st.Started() {
		return // the first block is due at once
	}
	since := wall.Sub(st.LastTime)
	c.blockAt = now.Add(clamp(c.cfg.BlockTime-since, c.cfg.BlockTime))
	c.lazyAt = now.Add(clamp(c.cfg.LazyInterval-since, c.cfg.LazyInterval))
}

func clamp(d, most time.Duration) time.Duration { return min(max(d, 0), most) }

// made plans the block after one whose making began at start. A block that was
// late pushes the next ones back: time lost is never made up by a burst.
func (c *cadence) made(start time.Time) {
	base := start
	if late := start.Sub(c.blockAt); late >= 0 && late < c.cfg.BlockTime/10 {
		base = c.blockAt // a timer's latency is no reason to drift
	}
	c.blockAt = latest(base.Add(c.cfg.BlockTime), time.Now())
	if !c.cfg.Lazy || start.Before(c.lazyAt) {
		return
	}
	late := start.Sub(c.lazyAt)
	c.lazyAt = c.lazyAt.Add(late - late%c.cfg.LazyInterval + c.cfg.LazyInterval)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// turn waits until a block is due.
func (p *Producer) turn(ctx context.Context) error {
	idle := 0 // wake-ups in a row that brought nothing
	for {
		if !p.cfg.Lazy {
			if left := time.Until(p.cadence.blockAt); left > 0 {
				_, err := sleep(ctx, left, nil)
				return err
			}
			return ctx.Err()
		}
		txs := p.notifications()
		if p.queue.empty() {
			p.reap(ctx)
			p.keep(ctx)
		}
		due, txs := p.lazyDue(txs)
		left := time.Until(due)
		if left <= 0 {
			return ctx.Err()
		}
		// An executor that notifies but has nothing to give, or that cannot be
		// read, is asked as often as one that does not notify.
		const patience = 2
		if p.queue.empty() && (txs == nil || idle > patience || p.reaping.text() != "") {
			left, txs = min(left, p.cfg.PollInterval), nil
		}
		timeout, err := sleep(ctx, left, txs)
		if err != nil {
			return err
		}
		idle++
		if timeout {
			idle = 0
		}
	}
}

// lazyDue returns when a lazy chain makes its next block and what may make that
// sooner: nothing when transactions wait.
func (p *Producer) lazyDue(txs <-chan struct{}) (time.Time, <-chan struct{}) {
	if !p.queue.empty() || p.p.Forced.Pending() {
		return p.cadence.blockAt, nil
	}
	due := latest(p.cadence.blockAt, p.cadence.lazyAt)
	if !none(p.p.Forced) { // what is forced comes unannounced
		txs = nil
	}
	return due, txs
}

// none reports whether nothing is ever forced.
func none(f Forced) bool {
	_, ok := f.(NoForced)
	return ok
}

// notifications returns the executor's channel, or nil when it has none.
func (p *Producer) notifications() <-chan struct{} {
	n, ok := p.p.Executor.(TxNotifier)
	if !ok {
		return nil
	}
	return n.TxsAvailable()
}
