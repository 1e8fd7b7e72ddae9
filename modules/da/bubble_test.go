package da

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// bubbleServer runs a server without a network, in memory, in fake time.
func bubbleServer(t *testing.T) *Server {
	t.Helper()
	cfg := DefaultServer()
	cfg.Listen = ""
	s, err := NewServer(cfg, zap.NewNop())
	require.NoError(t, err)
	require.NoError(t, s.Listen(t.Context()))
	ctx, cancel := newCancel(t)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		// The database's pool drainer lives on for half a minute.
		time.Sleep(time.Minute)
	})
	return s
}

// TestFakeTime: the in-process server costs no time in a bubble, keeps the grid
// exactly, and its deadlines are those of the network client.
func TestFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bubbleServer(t)
		c := s.Client()
		first, err := c.HeaderAt(t.Context(), 1)
		require.NoError(t, err)
		for range 3 {
			height, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			require.NoError(t, err)
			h, err := c.HeaderAt(t.Context(), height)
			require.NoError(t, err)
			require.Equal(t, first.Time.Add(time.Duration(height-1)*time.Second), h.Time)
			require.Equal(t, h.Time, time.Now().UTC())
		}
		s.SetFreeze(true)
		synctest.Wait()
		begin := time.Now()
		_, err = c.Blobs(t.Context(), s.Status().Height+1, NamespaceOf("a"))
		require.ErrorIs(t, err, ErrFuture)
		require.Equal(t, Default().ReadTimeout, time.Since(begin))

		require.NoError(t, s.SetOutage(OutageHang))
		begin = time.Now()
		_, err = c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
		require.ErrorIs(t, err, ErrUnknown)
		require.Equal(t, Default().RequestTimeout, time.Since(begin))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err = c.Head(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		require.NoError(t, s.SetOutage(OutageNone))
		require.Zero(t, s.Status().Pending, "what hung was never taken")
	})
}

// TestHangSilencesStreams: an outage that hangs also holds back events.
func TestHangSilencesStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bubbleServer(t)
		ctx, cancel := context.WithCancel(t.Context())
		heights, err := s.Client().Watch(ctx)
		require.NoError(t, err)
		<-heights
		require.NoError(t, s.SetOutage(OutageHang))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Empty(t, heights)
		require.NoError(t, s.SetOutage(OutageNone))
		require.Positive(t, <-heights)
		cancel()
		for range heights {
		}
	})
}
