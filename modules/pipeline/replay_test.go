package pipeline_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
)

// Load does not wait for a long replay: readers are answered meanwhile, writers
// wait until it is over.
func TestReplayHoldsWritersUpNotReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := appliedWorld(t, 5)
		w.behind(2)
		w.grow(w.chain, 2)
		w.exec.onRun = func(e block.Execution) error {
			if e.Height <= 5 {
				time.Sleep(time.Hour)
			}
			return nil
		}
		p := pipeline.New(w.params())
		require.NoError(t, p.Load(t.Context()))
		require.Equal(t, pipeline.Replay{At: 3, From: 3, To: 5}, *p.Replay())
		require.Equal(t, uint64(5), p.Snapshot().Applied())

		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.Apply(impatient, w.blocks, block.SourceP2P), context.DeadlineExceeded)
		require.ErrorIs(t, p.Include(impatient, nil, upTo(1)), context.DeadlineExceeded)

		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		changed := p.Changed()
		done := make(chan error, 1)
		go func() { done <- p.Apply(t.Context(), w.blocks, block.SourceP2P) }()
		time.Sleep(90 * time.Minute)
		require.Equal(t, "block 4 of 5", p.Replay().String())
		<-changed
		require.Nil(t, p.Replay(), "the change that is announced")
		require.NoError(t, <-done)
		require.Equal(t, heights(3, 7), w.exec.ran)
		require.Equal(t, uint64(7), p.Snapshot().Applied())
		stop()
		require.NoError(t, <-ended)
	})
}

// A replay that fails ends Run, and leaves nobody waiting.
func TestFailedReplayEndsRun(t *testing.T) {
	w := appliedWorld(t, 5)
	w.behind(2)
	st := w.store.states[4]
	st.AppHash = []byte{1, 2}
	w.store.states[4] = st
	p := pipeline.New(w.params())
	require.NoError(t, p.Load(t.Context()))
	var root *pipeline.RootError
	require.ErrorAs(t, p.Run(t.Context()), &root)
	require.ErrorIs(t, p.Apply(t.Context(), w.blocks, block.SourceP2P), pipeline.ErrNotOpen)
}

// Without anything to replay blocks are taken as soon as Load returns.
func TestLoadOfALevelExecutor(t *testing.T) {
	w := appliedWorld(t, 3)
	w.grow(w.chain, 1)
	p := pipeline.New(w.params())
	require.NoError(t, p.Load(t.Context()))
	require.Nil(t, p.Replay())
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, p.Run(ctx))
}
