package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
)

// applied returns a world whose blocks are all applied.
func appliedWorld(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld(t, n)
	require.NoError(t, w.start().Apply(t.Context(), w.blocks, block.SourceP2P))
	w.exec.ran, w.exec.again = nil, nil
	return w
}

// behind takes the executor back to a height.
func (w *world) behind(height uint64) {
	w.exec.latest = height
	for h := range w.exec.roots {
		if h > height {
			delete(w.exec.roots, h)
		}
	}
}

func (w *world) open() error { return pipeline.New(w.params()).Open(w.ctx()) }

func TestOpenLevel(t *testing.T) {
	w := appliedWorld(t, 5)
	p := w.start()
	require.Equal(t, uint64(5), p.Snapshot().Applied())
	require.Equal(t, w.at(5).Header.Digest(), p.Snapshot().AppliedHash)
	require.Empty(t, w.exec.ran)
}

func TestOpenReplaysWhatTheExecutorLacks(t *testing.T) {
	for _, height := range []uint64{0, 1, 3, 4} {
		w := appliedWorld(t, 5)
		w.behind(height)
		p := w.start()
		require.Equal(t, heights(height+1, 5), w.exec.ran)
		w.grow(w.chain, 2)
		require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
		require.Equal(t, w.roots[7], w.exec.roots[7])
	}
}

func TestOpenRefusesAnotherRoot(t *testing.T) {
	w := appliedWorld(t, 5)
	w.behind(2)
	st := w.store.states[4]
	st.AppHash = []byte{1, 2}
	w.store.states[4] = st
	err := w.open()
	var root *pipeline.RootError
	require.ErrorAs(t, err, &root)
	require.Equal(t, uint64(4), root.Height)
	require.Equal(t, w.roots[4], root.Got)
	require.ErrorContains(t, err, "want 0102")
	require.True(t, isPermanent(err))
}

func TestOpenRefusesAnotherGenesisRoot(t *testing.T) {
	w := appliedWorld(t, 2)
	w.exec.roots[0] = []byte("other")
	var root *pipeline.RootError
	require.ErrorAs(t, w.open(), &root)
	require.Zero(t, root.Height)
}

func TestOpenRefusesAStoredBlockThatWasNotApplied(t *testing.T) {
	w := appliedWorld(t, 3)
	w.behind(0)
	w.store.headers[2] = w.at(1).Header
	err := w.open()
	require.ErrorContains(t, err, "block 2 is stored with hash")
	require.True(t, isPermanent(err))
}

// A block that is gone from the store does not hang the start.
func TestOpenDoesNotWaitForMissingBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := appliedWorld(t, 3)
		w.behind(0)
		delete(w.store.data, 2)
		start := time.Now()
		err := w.open()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "read data 2")
		require.Less(t, time.Since(start), time.Minute)
	})
}

func TestOpenRollsBackAnExecutorThatIsAhead(t *testing.T) {
	w := appliedWorld(t, 5)
	w.store.last = 3
	delete(w.store.states, 4)
	delete(w.store.states, 5)
	p := w.start()
	require.Equal(t, []uint64{3}, w.exec.rolled)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, []uint64{4, 5}, w.exec.ran)
	require.Empty(t, w.exec.again)
}

// The node's data is gone, the executor's is not.
func TestOpenRollsBackToGenesis(t *testing.T) {
	w := appliedWorld(t, 5)
	w.store.states, w.store.last = map[uint64]block.State{}, 0
	p := w.start()
	require.Equal(t, []uint64{0}, w.exec.rolled)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, w.roots[5], p.Snapshot().State.AppHash)
}

func TestOpenSaysWhatToDoWhenItCannotRollBack(t *testing.T) {
	w := appliedWorld(t, 5)
	w.exec.stiff = true
	require.NoError(t, w.open())
	w.store.last = 3
	err := w.open()
	require.ErrorContains(t, err, "the executor is at block 5, ahead of the applied block 3, and cannot roll back: restore")
	require.True(t, isPermanent(err))
}

func TestOpenAsksNothingOfAPlainExecutor(t *testing.T) {
	w := newWorld(t, 3)
	w.exec.plain = true
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	w.start()
	require.Equal(t, heights(1, 3), w.exec.ran)
}

func TestOpenRefusesAnotherChain(t *testing.T) {
	for name, change := range map[string]func(*block.Genesis){
		"chain id":       func(g *block.Genesis) { g.ChainID = "other" },
		"initial height": func(g *block.Genesis) { g.InitialHeight = 9 },
		"proposer":       func(g *block.Genesis) { g.ProposerAddress = make([]byte, 32) },
	} {
		t.Run(name, func(t *testing.T) {
			w := appliedWorld(t, 2)
			change(&w.chain.Genesis)
			require.Error(t, w.open())
		})
	}
}

func TestOpenRefusesFinalAboveApplied(t *testing.T) {
	w := appliedWorld(t, 2)
	w.store.final = 3
	require.ErrorContains(t, w.open(), "block 3 is final but only 2 is applied")
}

func TestOpenNeedsAnExecutor(t *testing.T) {
	w := newWorld(t, 1)
	with := w.params()
	with.Executor = nil
	require.EqualError(t, pipeline.New(with).Open(t.Context()), "init chain: this node executes nothing")
}

// A panic at start is an error, too.
func TestOpenPanic(t *testing.T) {
	w := appliedWorld(t, 3)
	w.behind(1)
	w.exec.onRun = func(block.Execution) error { panic("boom") }
	require.ErrorContains(t, w.open(), "executor panicked in ExecuteTxs of block 2: boom")
}

func TestReplaySaysHowFarItIs(t *testing.T) {
	w := appliedWorld(t, 30)
	w.behind(0)
	clock := w.now()
	w.exec.onRun = func(block.Execution) error { clock = clock.Add(time.Second); return nil }
	with := w.params()
	with.Now = func() time.Time { return clock }
	require.NoError(t, pipeline.New(with).Open(t.Context()))
	require.Equal(t, 3, w.logs.FilterMessage("replaying").Len())
}

func TestReplayStops(t *testing.T) {
	w := appliedWorld(t, 9)
	w.behind(0)
	ctx, cancel := context.WithCancel(t.Context())
	w.exec.onRun = func(e block.Execution) error {
		if e.Height == 4 {
			cancel()
		}
		return nil
	}
	require.ErrorIs(t, pipeline.New(w.params()).Open(ctx), context.Canceled)
	require.Equal(t, uint64(4), w.exec.latest)
	w.start()
	require.Equal(t, heights(1, 9), w.exec.ran)
}

// An executor beyond the applied blocks proves that they were made: it is told of
// before it is rolled back, and when that cannot be noted nothing is.
func TestOpenTellsOfAnExecutorAhead(t *testing.T) {
	w := appliedWorld(t, 5)
	w.store.last = 3
	var told []uint64
	with := w.params()
	failed := errors.New("disk is full")
	with.Ahead = func(_ context.Context, executed uint64) error {
		require.Equal(t, uint64(5), w.exec.latest, "not rolled back yet")
		told = append(told, executed)
		if len(told) == 1 {
			return failed
		}
		return nil
	}
	require.ErrorIs(t, pipeline.New(with).Open(w.ctx()), failed)
	require.Equal(t, uint64(5), w.exec.latest)
	require.NoError(t, pipeline.New(with).Open(w.ctx()))
	require.Equal(t, []uint64{5, 5}, told)
	require.Equal(t, uint64(3), w.exec.latest)
	require.NoError(t, pipeline.New(with).Open(w.ctx()))
	require.Len(t, told, 2, "level")
}

// A node that was killed before it could halt halts at the next start: before
// anything is applied, or made, on top of a block that DA has another one for.
func TestOpenHaltsOnABlockThatDAContradicts(t *testing.T) {
	for _, policy := range []pipeline.Policy{pipeline.PolicyHalt, pipeline.PolicyFollowDA} {
		w := appliedWorld(t, 5)
		w.cfg.Conflict = policy
		other := block.Sum([]byte("another header"))
		require.NoError(t, w.store.Commit(t.Context(), block.Batch{Inclusions: []block.Inclusion{
			{Height: 2, Kind: block.KindHeader, Hash: w.at(2).Header.Digest(), DAHeight: 20},
			{Height: 4, Kind: block.KindHeader, Hash: other, DAHeight: 21},
		}}))
		p := w.start()
		halted := p.Conflicts().Halted
		if policy == pipeline.PolicyFollowDA {
			require.NoError(t, halted, "the DA worker reads it again")
			continue
		}
		require.Equal(t, &pipeline.EquivocationError{
			Height: 4, Applied: w.at(4).Header.Digest(), OnDA: other, DAHeight: 21, Proven: true,
		}, halted)
		w.grow(w.chain, 1)
		require.ErrorIs(t, p.Apply(t.Context(), w.blocks, block.SourceLocal), halted)
	}
}
