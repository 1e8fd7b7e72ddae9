package referee_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/referee"
)

func TestConflictsArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := notifier.New()
		var woken atomic.Int32
		var halted atomic.Pointer[error]
		r := referee.New(referee.Params{
			Notifier: n, Wake: []func(){func() { woken.Add(1) }, func() { woken.Add(1) }},
			Halted: func() error {
				if err := halted.Load(); err != nil {
					return *err
				}
				return nil
			},
		})
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		synctest.Wait()
		require.Zero(t, woken.Load())
		n.Publish(notifier.Event{Type: notifier.Conflict, Height: 1})
		n.Publish(notifier.Event{Type: notifier.Applied, Height: 1})
		synctest.Wait()
		require.Equal(t, int32(2), woken.Load())
		reason := errors.New("halted")
		halted.Store(&reason)
		n.Publish(notifier.Event{Type: notifier.Conflict, Height: 2})
		require.ErrorIs(t, <-done, reason)
		require.ErrorIs(t, r.Run(t.Context()), reason, "decided before it ran")
	})
}

func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, referee.New(referee.Params{Notifier: notifier.New(), Halted: func() error { return nil }}).Run(ctx))
}
