package syncer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// halted reports whether the sink says itself that trying again is no use.
func halted(err error) bool {
	p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && p.Permanent()
}

// refused reports whether the sink was given a block that can never be right. One
// that is dated in the future may be right later.
func refused(err error) bool {
	if errors.Is(err, block.ErrFutureTime) {
		return false
	}
	if _, ok := errors.AsType[*block.Violation](err); ok {
		return true
	}
	if _, ok := errors.AsType[*block.Conflict[*block.SignedHeader]](err); ok {
		return true
	}
	_, ok := errors.AsType[*block.Conflict[*block.Data]](err)
	return ok
}

// retry is the back-off between failures.
type retry struct {
	least, most time.Duration
	last        time.Duration // 0 when the last attempt was good
}

// delay returns how long to wait after one more failure: double the last wait.
func (r *retry) delay() time.Duration {
	r.last = min(max(2*r.last, r.least), r.most)
	return r.last
}

// jitter spreads d by a fifth, so that nodes that failed together do not try
// again together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // spreads load, guards nothing
}

// backOff waits after a failure. An event may cure it and cuts the wait short,
// but not below the least delay: a flood of events is no flood of attempts.
func (s *Syncer) backOff(ctx context.Context) {
	s.beat.Idle()
	delay := s.retry.delay()
	timer := time.NewTimer(jitter(s.retry.least))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	if rest := delay - s.retry.least; rest > 0 {
		timer.Reset(jitter(rest))
		s.inbox.wait(ctx, timer.C)
	}
	s.count.wakeups.Add(1)
}

// problemSubject is the part of problems that are the syncer's.
const problemSubject = "next block"

// failed records a failure. Only the first of a row is worth a warning.
func (s *Syncer) failed(err error) {
	s.count.failures.Add(1)
	s.early(err)
	why := err.Error()
	if s.failure.Swap(&why) == nil {
		s.log.Warn("syncing failed, trying again", zap.Error(err))
		return
	}
	s.log.Debug("syncing failed again", zap.Error(err))
}

// early reports a next block that is dated in the future of this machine's clock,
// and clears the report after any other failure.
func (s *Syncer) early(err error) {
	if !errors.Is(err, block.ErrFutureTime) {
		s.board.Clear(problems.Clock, problemSubject)
		return
	}
	if v, ok := errors.AsType[*block.Violation](err); ok {
		s.board.Report(problems.Early(problemSubject, v.Height, v.Got, s.now()))
	}
}

// healthy ends a row of failures, and of refusals.
func (s *Syncer) healthy() {
	s.refusedAt = 0
	if s.failure.Load() == nil {
		return
	}
	s.retry.last = 0
	s.failure.Store(nil)
	s.board.Clear(problems.Clock, problemSubject)
	s.log.Info("syncing goes on", zap.Uint64("next", s.sink.Next()))
}
