package pipeline_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
)

// whole is a memExec with all optional parts.
type whole struct {
	withRollback

	oldest uint64 // it cannot go back further; 0 is no bound
	resets int
	kept   []uint64
}

var errTooOld = pipeline.StateError{Reason: "too old"}

func (e *whole) Rollback(ctx context.Context, height uint64) error {
	if height < e.oldest {
		return &errTooOld
	}
	return e.withRollback.Rollback(ctx, height)
}

func (e *whole) StateRoot(context.Context) ([]byte, error) { return e.roots[e.latest], nil }

func (e *whole) Reset(context.Context) error {
	e.resets++
	e.latest, e.oldest, e.finals = 0, 0, nil
	clear(e.roots)
	return nil
}

func (e *whole) KeepFrom(height uint64) { e.kept = append(e.kept, height) }

func (w *world) openWhole(e *whole) (*pipeline.Pipeline, error) {
	with := w.params()
	with.Executor = e
	p := pipeline.New(with)
	return p, p.Open(w.ctx())
}

// An executor at the right height with another root has executed another chain: it
// is reset and given all blocks again, once.
func TestOpenRebuildsAnExecutorWithAnotherRoot(t *testing.T) {
	for _, height := range []uint64{5, 3} {
		w := appliedWorld(t, 5)
		w.behind(height)
		w.exec.roots[height] = []byte("of another chain")
		e := &whole{withRollback: withRollback{withHeight{w.exec}}}
		p, err := w.openWhole(e)
		require.NoError(t, err)
		require.Equal(t, 1, e.resets)
		require.Equal(t, heights(1, 5), w.exec.ran)
		require.Equal(t, 1, w.logs.FilterMessage("executor is reset, all blocks are executed again").Len())
		w.grow(w.chain, 1)
		require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))

		_, err = w.openWhole(e)
		require.NoError(t, err)
		require.Equal(t, 1, e.resets, "it has the right root now")
	}
}

// One that comes to another root again is not reset for ever.
func TestOpenRebuildsOnce(t *testing.T) {
	w := appliedWorld(t, 5)
	st := w.store.states[4]
	st.AppHash = []byte("not what the executor makes of it")
	w.store.states[4] = st
	w.behind(4)
	e := &whole{withRollback: withRollback{withHeight{w.exec}}}
	_, err := w.openWhole(e)
	var root *pipeline.RootError
	require.ErrorAs(t, err, &root)
	require.Equal(t, uint64(4), root.Height)
	require.Equal(t, 1, e.resets)
	require.True(t, isPermanent(err))
}

func TestOpenRebuildsAnExecutorThatCannotGoBack(t *testing.T) {
	w := appliedWorld(t, 9)
	w.store.last = 3
	e := &whole{withRollback: withRollback{withHeight{w.exec}}, oldest: 5}
	_, err := w.openWhole(e)
	require.NoError(t, err)
	require.Equal(t, 1, e.resets)
	require.Equal(t, heights(1, 3), w.exec.ran)
}

// What may pass is no reason to start over.
func TestOpenDoesNotRebuildForAPassingError(t *testing.T) {
	w := appliedWorld(t, 9)
	w.store.last = 3
	w.faults.reset(0, false)
	e := &whole{withRollback: withRollback{withHeight{w.exec}}}
	for at := 1; ; at++ {
		w.faults.reset(at, false)
		_, err := w.openWhole(e)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, errFault)
	}
	require.Zero(t, e.resets)
}

// An executor that is reset in the middle of a rollback, while the node runs, is
// given what it lacks before the next block.
func TestRevertRebuildsAnExecutorThatCannotGoBack(t *testing.T) {
	f := newForked(t, 4, 3, 5)
	e := &whole{withRollback: withRollback{withHeight{f.exec}}, oldest: 6}
	p, err := f.openWhole(e)
	require.NoError(t, err)
	require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
	_, reverts := errors.AsType[*pipeline.RevertedError](f.sweep(t.Context(), p))
	require.True(t, reverts)
	require.Equal(t, 1, e.resets)
	require.NoError(t, f.sweep(t.Context(), p))
	require.NoError(t, p.Apply(t.Context(), f.da, block.SourceDA))
	require.Equal(t, f.root(), p.Snapshot().State.AppHash)
}

// The executor hears what it may be rolled back to when the node has opened and
// after each group of blocks.
func TestExecutorHearsWhatToKeep(t *testing.T) {
	w := newWorld(t, 3)
	e := &whole{withRollback: withRollback{withHeight{w.exec}}}
	p, err := w.openWhole(e)
	require.NoError(t, err)
	require.NoError(t, p.Apply(t.Context(), w.blocks[:2], block.SourceP2P))
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, []uint64{0, 2, 3}, e.kept)
}

// Data may lie lower on DA than its header, also that of a block that is kept. Since
// data no known header wanted was not noted, reading starts again where it lies.
func TestRevertReadsAgainFromTheData(t *testing.T) {
	for name, lower := range map[string]uint64{"of a block that goes": 5, "of the block that stays": 4} {
		t.Run(name, func(t *testing.T) {
			f := newForked(t, 4, 2, 3)
			p := f.start()
			require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
			const at = 3 // far below the headers
			require.NoError(t, p.Include(t.Context(), seenHeader(f.at(4), where(f.at(4))), upTo(0)))
			require.NoError(t, p.Include(t.Context(), seenData(f.at(lower), at), upTo(0)))
			if lower != 4 {
				require.NoError(t, p.Include(t.Context(), seenData(f.at(4), where(f.at(4))), upTo(0)))
			}
			err := p.Include(t.Context(), contested(f.da[4], where(f.da[4])), upTo(0))
			reverted, ok := errors.AsType[*pipeline.RevertedError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, uint64(4), reverted.To)
			require.Equal(t, uint64(at), reverted.DACursor)
		})
	}
}

// heedful is a store that writes nothing for a context that has ended, as the real
// one.
type heedful struct{ *memStore }

func (s heedful) Commit(ctx context.Context, b block.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.memStore.Commit(ctx, b)
}

// What the executor has done is committed though the node was asked to stop
// meanwhile.
func TestCommitIsNotCancelled(t *testing.T) {
	w := newWorld(t, 3)
	with := w.params()
	with.Store = heedful{w.store}
	p := pipeline.New(with)
	require.NoError(t, p.Open(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	w.exec.onRun = func(e block.Execution) error {
		if e.Height == 2 {
			cancel()
		}
		return nil
	}
	require.ErrorIs(t, p.Apply(ctx, w.blocks, block.SourceP2P), context.Canceled)
	require.Equal(t, uint64(2), p.Snapshot().Applied())
	require.Equal(t, uint64(2), w.exec.latest)
}
