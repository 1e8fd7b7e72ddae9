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
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"
)

// ExitFailed is the exit code a node stops with when a worker failed.
const ExitFailed = 1

// Go runs a worker from start to stop of the application. The worker's context
// ends at stop; stop waits for it and names it when it does not return in time,
// early enough for the workers that stop after it.
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
	wait, cancel := almostAll(ctx)
	defer cancel()
	select {
	case <-w.done:
		return nil
	case <-wait.Done():
		return fmt.Errorf("worker %s did not stop in time: %w", w.name, wait.Err())
	}
}

// almostAll ends after nine tenths of the time that is left. When ctx itself
// ends fx drops the errors and the hooks that are still to come, so that nobody
// would learn the name of the worker and the others would go on running.
func almostAll(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)*9/10)
}
