package daworker

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/da"
)

// The head stream is given up after this many silent DA block times, and asked
// for again after this many without one.
const (
	silentBlocks  = 3
	rewatchBlocks = 5
)

// watcher keeps a head stream open and wakes the worker when it delivers.
type watcher struct {
	client   da.Client
	interval atomic.Int64 // nanoseconds: a DA block time
	log      *zap.Logger
	wake     func()

	head  atomic.Uint64 // highest height the stream told of
	alive atomic.Bool   // the stream delivered within the last silentBlocks block times
}

func (w *watcher) blockTime() time.Duration { return time.Duration(w.interval.Load()) }

// run watches until ctx ends. Every failure is harmless: the worker polls.
func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.follow(ctx)
		if w.alive.Swap(false) {
			w.wake() // polling takes over now
		}
		if err != nil {
			w.log.Debug("no head stream from da", zap.Error(err))
		}
		pause := time.NewTimer(rewatchBlocks * w.blockTime())
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
	}
}

// follow reads one stream until it closes or falls silent.
func (w *watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heights, err := w.client.Watch(ctx)
	if err != nil {
		return err
	}
	w.head.Store(0) // another endpoint may be behind
	silence := time.NewTimer(silentBlocks * w.blockTime())
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-silence.C:
			return errSilent
		case height, ok := <-heights:
			if !ok {
				return errClosed
			}
			silence.Reset(silentBlocks * w.blockTime())
			w.alive.Store(true)
			if height > w.head.Load() { // the only writer
				w.head.Store(height)
				w.wake()
			}
		}
	}
}
