package daworker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/da"
)

// prunedPolls is how many block times pass between looks at a pruned height.
const prunedPolls = 10

// settle notes how a round went and when the next is due.
func (r *reader) settle(err error) {
	now := time.Now()
	switch {
	case err == nil, errors.Is(err, errWalkBack):
		if !now.Before(r.notBefore) && r.phase != PhaseFailing {
			r.phase = PhaseCatchUp
			if r.next > r.head.Height {
				r.phase = PhaseHead
			}
		}
	case errors.Is(err, da.ErrFuture): // the head was announced before it can be read
		r.phase = PhaseHead
		r.early++
		r.notBefore = now.Add(r.backoff(r.early))
	case errors.Is(err, da.ErrPruned):
		if r.phase != PhasePruned {
			r.p.Log.Error("da height is gone from the endpoint; point the node at one that keeps it",
				zap.Uint64("da_height", r.next), zap.Error(err))
		}
		r.phase, r.lastErr = PhasePruned, fmt.Sprintf("DA height %d is pruned below tail", r.next)
		r.notBefore = now.Add(prunedPolls * r.p.Config.PollInterval)
	default:
		r.failing(err)
		r.failures++
		r.notBefore = now.Add(r.backoff(r.failures))
		r.pollAt = r.notBefore
	}
	r.publish()
}

// failing notes an error that is retried.
func (r *reader) failing(err error) {
	if r.phase != PhaseFailing {
		if errors.Is(err, da.ErrAuth) {
			r.p.Log.Error("da endpoint refuses the token", zap.Error(err))
		} else {
			r.p.Log.Warn("reading from da fails; retrying", zap.Uint64("cursor", r.next), zap.Error(err))
		}
	}
	r.phase, r.lastErr = PhaseFailing, err.Error()
}

// answered notes that the endpoint works.
func (r *reader) answered(now time.Time) {
	r.lastOK, r.failures = now, 0
	if r.phase == PhaseFailing {
		r.p.Log.Info("reading from da works again", zap.Uint64("cursor", r.next))
	}
	if r.phase == PhaseFailing || r.phase == PhaseStarting {
		r.phase, r.lastErr = PhaseCatchUp, ""
	}
}

// wait returns when there is something to do, or false when ctx ended.
func (r *reader) wait(ctx context.Context) bool {
	now := time.Now()
	due := r.pollAt
	if r.next <= r.head.Height && r.notBefore.Before(due) {
		due = r.notBefore
	}
	if _, hint := r.hintDue(now); !hint.IsZero() && hint.Before(due) {
		due = hint
	}
	if !due.After(now) {
		return ctx.Err() == nil
	}
	r.w.beat.Idle()
	timer := time.NewTimer(due.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-r.w.wake:
	}
	return true
}

// backoff returns the pause after a number of failures in a row: 100 ms,
// doubling up to the poll interval, a fifth more or less.
func (r *reader) backoff(attempt int) time.Duration {
	const least = 100 * time.Millisecond
	d := min(least<<min(attempt-1, 16), max(r.p.Config.PollInterval, least))
	return d + time.Duration((rand.Float64()-0.5)*0.4*float64(d)) //nolint:gosec // jitter needs no secrecy
}

func (r *reader) disabled() {
	r.phase = PhaseDisabled
	r.publish()
}

// publish makes the state visible to Status.
func (r *reader) publish() {
	a := r.asm
	s := Status{
		Phase: r.phase, Head: r.head, Timed: r.timed, Cursor: r.next, Scanned: r.scanned, Floor: r.told.Floor, LastOK: r.lastOK, LastRead: r.lastRead, LastErr: r.lastErr,
		WaitingFor: a.waitingFor(), Streaming: r.watch.alive.Load(), Rate: r.rate.value(time.Now()), Stats: a.stats,
		Pending: Pending{
			Headers: a.nearHeaders(), Data: a.pending.items, Bytes: a.pending.bytes,
			Quarantined:     a.quarantine.count() + len(a.unproven.headers) + a.unproven.items,
			QuarantineBytes: a.quarantine.bytes, UnprovenBytes: a.unproven.bytes,
		},
	}
	s.Stats.Dropped, s.Stats.Evicted, s.Stats.Junk = a.pending.dropped, a.quarantine.evicted, a.junk.total()
	r.w.show(&snapshot{Status: s, junk: a.junk})
}
