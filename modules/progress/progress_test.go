package progress_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/progress"
)

// work is a task that a test moves.
type work struct {
	done, total atomic.Uint64

	mu      sync.Mutex
	changed chan struct{}
}

func newWork(total uint64) *work {
	w := &work{changed: make(chan struct{})}
	w.total.Store(total)
	return w
}

func (w *work) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *work) step(to uint64) {
	w.done.Store(to)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *work) task() progress.Task {
	return progress.Task{Unit: "blocks", Done: w.done.Load, Total: w.total.Load}
}

func run(t *testing.T, p progress.Params) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- progress.New(p).Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func TestLongWorkIsLoggedEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		w := newWork(100_000)
		stop := run(t, progress.Params{Changed: w.Changed, Tasks: []progress.Task{w.task()}, Log: zap.New(core)})
		for i := range uint64(30) {
			w.step(i * 1000)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		lines := logs.FilterMessage("catching up").All()
		require.Len(t, lines, 3)
		fields := lines[2].ContextMap()
		require.Equal(t, uint64(29_000), fields["at"])
		require.Equal(t, uint64(100_000), fields["of"])
		require.InDelta(t, 966, fields["per_second"], 1)
		require.Equal(t, 73*time.Second, fields["eta"])

		w.step(100_000)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		require.Equal(t, uint64(100_000), logs.FilterMessage("caught up").All()[0].ContextMap()["done"])
		stop()
	})
}

// A long way through DA heights that hold nothing: no step, no block.
func TestWorkThatBeginsWithoutAStepIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		w, begun := newWork(0), newWork(0)
		stop := run(t, progress.Params{Changed: w.Changed, Begun: begun.Changed, Tasks: []progress.Task{w.task()}, Log: zap.New(core)})
		synctest.Wait()
		w.total.Store(100_000)
		begun.step(1)
		w.done.Store(4000)
		time.Sleep(11 * time.Second)
		require.Equal(t, 1, logs.FilterMessage("catching up").Len())
		stop()
	})
}

// TestInvariant8_QuietNearTheHead: blocks at the tip show nothing and start no timer.
func TestInvariant8_QuietNearTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		w := newWork(0)
		stop := run(t, progress.Params{Changed: w.Changed, Tasks: []progress.Task{w.task()}, Log: zap.New(core)})
		for i := range uint64(100) {
			w.total.Store(i)
			w.step(i)
			synctest.Wait()
		}
		time.Sleep(24 * time.Hour)
		require.Zero(t, logs.Len())
		stop()
	})
}

func TestBarOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := newWork(2000)
		stop := run(t, progress.Params{Changed: w.Changed, Tasks: []progress.Task{w.task()}, Terminal: &out, Log: zap.NewNop()})
		synctest.Wait()
		w.step(500)
		time.Sleep(time.Second)
		w.step(1000)
		time.Sleep(time.Second)
		stop()
		require.Contains(t, out.String(), "catching up")
		require.Contains(t, out.String(), "1000/2000")
		require.Contains(t, out.String(), "blocks/")
	})
}
