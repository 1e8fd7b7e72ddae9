package fxrun_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
	"github.com/tandem-node/tandem/testutil"
)

func TestMain(m *testing.M) {
	// The first signal.Notify of a process starts a goroutine of the runtime,
	// which must not be born inside a bubble. fx calls it at Start.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	signal.Stop(c)
	testutil.LeaksMain(m)
}

type worker struct {
	name string
	run  func(context.Context) error
}

// untilStopped is a worker that does what it is asked to.
func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func newApp(workers ...worker) (*fx.App, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	app := fx.New(fx.NopLogger, fx.Supply(zap.New(core)), fx.Invoke(
		func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger) {
			for _, w := range workers {
				fxrun.Go(lc, sd, log, w.name, w.run)
			}
		}))
	return app, logs
}

func TestWorkerRunsFromStartToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		app, logs := newApp(worker{"steady", func(ctx context.Context) error {
			events = append(events, "began")
			<-ctx.Done()
			events = append(events, "ended")
			return errors.New("any error after being asked to stop")
		}})
		synctest.Wait()
		require.Empty(t, events, "constructing starts nothing")
		require.NoError(t, app.Start(t.Context()))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []string{"began"}, events)
		require.NoError(t, app.Stop(t.Context()))
		require.Equal(t, []string{"began", "ended"}, events)
		require.Empty(t, logs.All())
	})
}

func TestWorkerOutlivesTheStartContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var ended bool
		app, _ := newApp(worker{"steady", func(ctx context.Context) error {
			require.Equal(t, "kept", ctx.Value(key{}))
			<-ctx.Done()
			ended = true
			return nil
		}})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "kept"), time.Second)
		require.NoError(t, app.Start(ctx))
		cancel()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, ended)
		require.NoError(t, app.Stop(t.Context()))
		require.True(t, ended)
	})
}

func TestWorkerThatEndsByItselfShutsTheNodeDown(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"with an error", errors.New("disk on fire"), "disk on fire"},
		{"without one", nil, "returned before it was asked to stop"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				die := make(chan struct{})
				app, logs := newApp(worker{"steady", untilStopped}, worker{"mortal", func(context.Context) error {
					<-die
					return tc.err
				}})
				require.NoError(t, app.Start(t.Context()))
				close(die)
				require.Equal(t, fxrun.ExitFailed, (<-app.Wait()).ExitCode)
				require.NoError(t, app.Stop(t.Context()))
				require.Len(t, logs.All(), 1)
				entry := logs.All()[0]
				require.Equal(t, zap.ErrorLevel, entry.Level)
				require.Equal(t, "mortal", entry.ContextMap()["worker"])
				require.Equal(t, tc.want, entry.ContextMap()["error"])
			})
		})
	}
}

// The worker may fail while start-up is still going on.
func TestWorkerThatFailsDuringStartIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, _ := newApp(worker{"stillborn", func(context.Context) error { return errors.New("no") }})
		require.NoError(t, app.Start(t.Context()))
		synctest.Wait()
		require.Equal(t, fxrun.ExitFailed, (<-app.Wait()).ExitCode)
		require.NoError(t, app.Stop(t.Context()))
	})
}

func TestInvariant10_Stops_StuckWorkerIsNamedAndTheOthersStillStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		firstEnded := false
		app, _ := newApp(
			worker{"first", func(ctx context.Context) error {
				defer func() { firstEnded = true }()
				return untilStopped(ctx)
			}},
			worker{"stuck", func(context.Context) error {
				<-release
				return nil
			}},
		)
		require.NoError(t, app.Start(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		err := app.Stop(ctx)
		require.ErrorContains(t, err, "worker stuck did not stop in time")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(began), 2*time.Second)
		close(release)
		synctest.Wait()
		require.True(t, firstEnded, "a stuck worker must not leave the others running")
	})
}

func TestStopWithoutStart(t *testing.T) {
	lc := fxtest.NewLifecycle(t)
	fxrun.Go(lc, nil, zap.NewNop(), "idle", untilStopped)
	require.NoError(t, lc.Stop(t.Context()))
}

func TestWorkerCarriesItsNameInProfiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var label string
		app, _ := newApp(worker{"labelled", func(ctx context.Context) error {
			label, _ = pprof.Label(ctx, "worker")
			return untilStopped(ctx)
		}})
		require.NoError(t, app.Start(t.Context()))
		require.NoError(t, app.Stop(t.Context()))
		require.Equal(t, "labelled", label)
	})
}
