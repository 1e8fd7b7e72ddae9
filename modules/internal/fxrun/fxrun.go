// Package fxrun ties blocking workers to the fx lifecycle: a worker is a
// func(ctx) error that runs until ctx ends, and Go owns its goroutine.
//
// It does not restart workers: one that fails stops the node.
package fxrun

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"

	"go.uber.org/fx"
	"go.uber.org/zap"
)

// ExitFailed is the exit code a node stops with when a worker failed.
const ExitFailed = 1

// Go runs a worker from start to stop of the application. The worker's context
// ends at stop; stop waits for it and names it when it does not return in time.
// A worker that returns an error by itself shuts the application down.
func Go(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, name string, run func(context.Context) error) {
	w := &worker{name: name, run: run, log: log, sd: sd, done: make(chan struct{})}
	lc.Append(fx.Hook{OnStart: w.start, OnStop: w.stop})
}

type worker struct {
	name   string
	run    func(context.Context) error
	log    *zap.Logger
	sd     fx.Shutdowner
	cancel context.CancelFunc
	done   chan struct{}
}

func (w *worker) start(ctx context.Context) error {
	// The start context dies when start-up ends; the worker outlives it.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	go func() {
		defer close(w.done)
		pprof.Do(run, pprof.Labels("worker", w.name), w.loop)
	}()
	return nil
}

func (w *worker) loop(ctx context.Context) {
	err := w.run(ctx)
	if ctx.Err() != nil {
		return // asked to stop
	}
	if err == nil {
		err = errors.New("returned before it was asked to stop")
	}
	w.log.Error("worker failed, the node stops", zap.String("worker", w.name), zap.Error(err))
	if err := w.sd.Shutdown(fx.ExitCode(ExitFailed)); err != nil {
		w.log.Error("shutdown request failed", zap.String("worker", w.name), zap.Error(err))
	}
}

func (w *worker) stop(ctx context.Context) error {
	w.cancel()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("worker %s did not stop in time: %w", w.name, ctx.Err())
	}
}
