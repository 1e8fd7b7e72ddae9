package da

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Answers that fill the allowance wait for one another, and all are read in the end:
// one goes on above the limit, the others do not.
func TestAllowanceIsBounded(t *testing.T) {
	const answers, size, limit = 20, 10 * quantum, 8 * quantum
	synctest.Test(t, func(t *testing.T) {
		a := newAllowance(limit)
		var peak, read atomic.Int64
		done := make(chan error, answers)
		for range answers {
			go func() {
				s := &portion{of: a}
				defer s.release()
				n, err := io.Copy(io.Discard, &allowed{ctx: t.Context(), share: s, from: &slowly{from: bytes.NewReader(make([]byte, size)), seen: func() {
					peak.Store(max(peak.Load(), int64(a.used())))
				}}})
				read.Add(n)
				done <- err
			}()
		}
		for range answers {
			require.NoError(t, <-done)
		}
		require.Equal(t, int64(answers*size), read.Load())
		require.Greater(t, peak.Load(), int64(limit/2), "they are read side by side")
		require.LessOrEqual(t, peak.Load(), int64(limit+2*size+2*quantum))
		synctest.Wait()
		require.Zero(t, a.used())
	})
}

// slowly is a reader that takes its time.
type slowly struct {
	from io.Reader
	seen func()
}

func (s *slowly) Read(p []byte) (int, error) {
	s.seen()
	time.Sleep(time.Millisecond)
	return s.from.Read(p)
}

// An answer that waits ends with its call, and what it held is free.
func TestAllowanceEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAllowance(10)
		first, lead, late := &portion{of: a}, &portion{of: a}, &portion{of: a}
		require.NoError(t, first.take(t.Context(), 6))
		require.NoError(t, late.take(t.Context(), 4))
		require.NoError(t, lead.take(t.Context(), 7), "one goes on above the limit")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, late.take(ctx, 1), context.DeadlineExceeded)
		late.release()
		require.Equal(t, 13, a.used())
		waited := make(chan error, 1)
		go func() { waited <- late.take(t.Context(), 4) }()
		synctest.Wait()
		require.Empty(t, waited)
		lead.release()
		require.NoError(t, <-waited)
		require.NoError(t, late.take(t.Context(), 1), "and another one after it")
		late.release()
		first.release()
		require.Zero(t, a.used())
	})
}
