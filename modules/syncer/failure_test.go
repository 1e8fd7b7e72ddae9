package syncer_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry/problems"
)

func TestTransientErrorsAreRetriedWithBackOffAndOneWarning(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(3)
		for range 8 {
			r.sink.failNext(errFlaky)
		}
		began := time.Now()
		r.start()
		synctest.Wait()
		st := r.syncer.Stats()
		require.Equal(t, "retry of 1", st.WaitingFor)
		require.Equal(t, "apply blocks 1 to 3: flaky", st.Failure)
		for r.sink.Next() == 1 {
			time.Sleep(10 * time.Millisecond)
		}
		// 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 5 + 5 s, give or take a tenth.
		require.InDelta(t, 16.3, time.Since(began).Seconds(), 1.7)
		synctest.Wait()
		require.Equal(t, uint64(8), r.syncer.Stats().Failures)
		require.Empty(t, r.syncer.Stats().Failure)
		require.Len(t, r.logs.FilterLevelExact(zap.WarnLevel).All(), 1)
		require.Len(t, r.logs.FilterMessage("syncing goes on").All(), 1)

		r.sink.failNext(errFlaky) // a new row starts with the least delay
		r.add(1, notifier.P2P)
		time.Sleep(120 * time.Millisecond)
		require.Equal(t, uint64(5), r.sink.Next())
	})
}

func TestAnEventCutsTheBackOffShort(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(3)
		for range 7 {
			r.headers.failNext(errFlaky)
		}
		r.start()
		time.Sleep(7 * time.Second) // in the fifth second of waiting for the last
		require.Equal(t, uint64(1), r.sink.Next())
		r.add(1, notifier.P2P)
		synctest.Wait()
		require.Equal(t, uint64(5), r.sink.Next())
	})
}

func TestAFloodOfEventsIsNoFloodOfAttempts(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		for range 10_000 {
			r.sink.failNext(errFlaky)
		}
		r.fill(1)
		r.start()
		for range 1000 {
			r.events.Publish(notifier.Event{Type: notifier.Header, Height: 1})
			time.Sleep(time.Millisecond)
		}
		require.Less(t, len(r.sink.seen()), 14, "about ten in a second")
	})
}

type haltError struct{}

func (haltError) Error() string   { return "halted by policy" }
func (haltError) Permanent() bool { return true }

func TestPermanentErrorsEndRun(t *testing.T) {
	for _, err := range []error{
		&block.Violation{Rule: block.ErrBrokenLink, Height: 1},
		&block.Conflict[*block.SignedHeader]{Height: 1},
		&block.Conflict[*block.Data]{Height: 1},
		fmt.Errorf("pipeline: %w", haltError{}),
	} {
		t.Run(err.Error(), func(t *testing.T) {
			bubble(t, func(r *rig) {
				t := r.t
				r.fill(2)
				r.sink.failNext(err, err)
				r.start()
				synctest.Wait()
				require.ErrorIs(t, r.stop(), err)
				require.Empty(t, r.events.Stats().Subscriptions)
			})
		})
	}
}

// A rollback between fetch and Apply makes the sink refuse blocks that the
// stores no longer hold. That is not the chain's fault.
func TestARefusalCountsOnlyAfterAFreshRead(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(10)
		r.sink.next = 5
		r.sink.failNext(&block.Violation{Rule: block.ErrBrokenLink, Height: 5})
		r.sink.onErr = func() {
			r.headers.truncate(3)
			r.sink.next = 4
		}
		r.start()
		synctest.Wait()
		require.Equal(t, uint64(4), r.sink.Next())
		r.addHeaders(r.headerView, 2, notifier.Local)
		synctest.Wait()
		require.Equal(t, []call{{5, 10, block.SourceP2P}, {4, 5, block.SourceDA}}, r.sink.seen())
		require.NoError(t, r.stop())
	})
}

// A clock that is behind (no battery, NTP comes later) makes stored blocks look as
// if they were of the future. They are not wrong, and nothing else is needed than
// the right time.
func TestTorture_ClockBehindStoredBlocksIsWaitedFor(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.params.Problems = problems.New()
		early := &block.Violation{Rule: block.ErrFutureTime, Height: 1, Got: "12:05", Want: "at most 12:01"}
		for range 10 {
			r.sink.failNext(fmt.Errorf("verify: %w", early))
		}
		r.fill(3)
		r.start()
		time.Sleep(10 * time.Second)
		list := r.params.Problems.List()
		require.Len(t, list, 1)
		require.Equal(t, problems.Clock, list[0].Kind)
		require.True(t, list[0].Unready)
		require.Contains(t, list[0].Reason, "block 1 is dated 12:05")
		require.Equal(t, "retry of 1", r.syncer.Stats().WaitingFor)
		time.Sleep(time.Minute)
		require.Equal(t, uint64(4), r.sink.Next())
		require.Empty(t, r.params.Problems.List())
		require.NoError(t, r.stop())
	})
}

// Only refusals with nothing good between them count together: the second of these
// comes hours after the first.
func TestRefusalsWithProgressBetweenThemDoNotAddUp(t *testing.T) {
	for name, between := range map[string]func(*rig){
		"nothing":   func(*rig) {},
		"a failure": func(r *rig) { r.headers.failNext(errFlaky) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				t := r.t
				stale := &block.Violation{Rule: block.ErrBrokenLink, Height: 1}
				r.sink.failNext(stale)
				r.fill(1)
				r.start()
				time.Sleep(time.Hour)
				require.Equal(t, uint64(2), r.sink.Next())
				between(r)
				r.add(10, notifier.P2P)
				time.Sleep(time.Hour)
				require.Equal(t, uint64(12), r.sink.Next())
				r.sink.mu.Lock()
				r.sink.next = 1 // rolled back
				r.sink.mu.Unlock()
				r.sink.failNext(stale)
				r.events.Publish(notifier.Event{Type: notifier.Header, Height: 1})
				time.Sleep(time.Hour)
				require.Equal(t, uint64(12), r.sink.Next())
				require.NoError(t, r.stop())
			})
		})
	}
}

func TestAStoreThatReturnsNothingIsAFailureNotASpin(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(2)
		r.params.Data = hollow{r.data}
		r.start()
		time.Sleep(time.Minute)
		st := r.syncer.Stats()
		require.Equal(t, "fetch from block 1: stores are at 2 and returned nothing of [1, 3)", st.Failure)
		require.Less(t, st.Fetches, uint64(30))
	})
}

// hollow holds nothing but says it does.
type hollow struct{ syncer.Source[*block.Data] }

func (hollow) GetRange(context.Context, uint64, uint64) ([]*block.Data, error) { return nil, nil }

func TestASinkThatDoesNotMoveIsAFailureNotASpin(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.fill(2)
		r.params.Sink = stubborn{}
		r.start()
		time.Sleep(time.Minute)
		st := r.syncer.Stats()
		require.Equal(t, "sink took blocks 1 to 2 and still wants 1", st.Failure)
		require.Less(t, st.Fetches, uint64(30))
	})
}

type stubborn struct{}

func (stubborn) Next() uint64                                             { return 1 }
func (stubborn) Apply(context.Context, []block.Block, block.Source) error { return nil }

// While blocks are held none is applied, whatever comes, and the reason is shown.
func TestHeldBlocksAreNotApplied(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		var held atomic.Bool
		r.params.Hold = func() error {
			if held.Load() {
				return errors.New("held for a reason")
			}
			return nil
		}
		r.fill(2)
		r.start()
		synctest.Wait()
		require.Equal(t, uint64(3), r.sink.Next())

		held.Store(true)
		r.add(1, notifier.P2P)
		time.Sleep(time.Minute)
		require.Equal(t, uint64(3), r.sink.Next())
		require.Equal(t, "held for a reason", r.syncer.Stats().Failure)

		held.Store(false) // nobody says so
		time.Sleep(time.Minute)
		require.Equal(t, uint64(4), r.sink.Next())
		require.Empty(t, r.syncer.Stats().Failure)
	})
}
