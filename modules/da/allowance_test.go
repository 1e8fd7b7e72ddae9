package da

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func newPortion(ctx context.Context, a *allowance) *portion {
	return &portion{of: a, most: 1 << 30, ctx: ctx, patience: time.Hour}
}

// Answers that fill the allowance wait for one another, and all are read in the end:
// one goes on above the limit, the others do not.
func TestAllowanceIsBounded(t *testing.T) {
	const answers, size, limit = 20, 10 * quantum, 8 * quantum
	synctest.Test(t, func(t *testing.T) {
		a := newAllowance(limit)
		var peak atomic.Int64
		done := make(chan error, answers)
		for range answers {
			go func() {
				s := newPortion(t.Context(), a)
				defer s.release()
				var err error
				for n := 0; n < size && err == nil; n += quantum / 2 {
					err = s.claim(quantum / 2)
					peak.Store(max(peak.Load(), int64(a.used())))
					time.Sleep(time.Millisecond)
				}
				done <- err
			}()
		}
		for range answers {
			require.NoError(t, <-done)
		}
		require.Greater(t, peak.Load(), int64(limit/2), "they are read side by side")
		require.LessOrEqual(t, peak.Load(), int64(limit+size))
		synctest.Wait()
		require.Zero(t, a.used())
	})
}

// An answer that waits ends with its call, and what it held is free.
func TestAllowanceEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAllowance(10)
		first, lead, late := newPortion(t.Context(), a), newPortion(t.Context(), a), newPortion(t.Context(), a)
		require.NoError(t, first.take(6))
		require.NoError(t, late.take(4))
		require.NoError(t, lead.take(7), "one goes on above the limit")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late.ctx = ctx
		require.ErrorIs(t, late.take(1), context.DeadlineExceeded)
		late.release()
		require.Equal(t, 13, a.used())
		late = newPortion(t.Context(), a)
		waited := make(chan error, 1)
		go func() { waited <- late.take(4) }()
		synctest.Wait()
		require.Empty(t, waited)
		lead.release()
		require.NoError(t, <-waited)
		require.NoError(t, late.take(1), "and another one after it")
		late.release()
		first.release()
		require.Zero(t, a.used())
	})
}

// What an answer gives back is free for others, and small answers never ask.
func TestPortion(t *testing.T) {
	a := newAllowance(10 * quantum)
	s := newPortion(t.Context(), a)
	require.NoError(t, s.claim(quantum))
	require.Zero(t, a.used())
	require.NoError(t, s.claim(5*quantum))
	require.Equal(t, 5*quantum, a.used())
	require.NoError(t, s.claim(-5*quantum))
	require.LessOrEqual(t, a.used(), 2*quantum)
	s.most = 3 * quantum
	require.ErrorIs(t, s.claim(3*quantum), errLong)
	s.release()
	require.Zero(t, a.used())
}

// A wait for room ends, and stops the clock of the call meanwhile.
func TestWaitForRoomIsNotTheEndpointsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAllowance(0)
		lead, s := newPortion(t.Context(), a), newPortion(t.Context(), a)
		require.NoError(t, lead.take(1))
		ctx, cancel := context.WithCancel(t.Context())
		clock := newPace(time.Second, time.Second, cancel)
		defer clock.stop()
		s.ctx, s.waiting, s.patience = ctx, clock.pause, 10*time.Second
		begin := time.Now()
		require.ErrorIs(t, s.take(1), errRoom)
		require.Equal(t, 10*time.Second, time.Since(begin))
		require.False(t, clock.late())
		<-ctx.Done()
		require.True(t, clock.late())
		require.Equal(t, 11*time.Second, time.Since(begin), "what was left before")
		lead.release()
	})
}

// The deadline moves with what arrives, and not for ever.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for perSecond, want := range map[int]time.Duration{0: 5 * time.Second, 100: 5 * time.Second, leastRate: time.Minute, 10 * leastRate: time.Minute} {
			ctx, cancel := context.WithCancel(t.Context())
			begin := time.Now()
			clock := newPace(5*time.Second, time.Minute, cancel)
			for ctx.Err() == nil {
				time.Sleep(100 * time.Millisecond)
				clock.got(perSecond / 10)
			}
			require.InDelta(t, want, time.Since(begin), float64(200*time.Millisecond), "%d", perSecond)
			clock.stop()
		}
	})
}
