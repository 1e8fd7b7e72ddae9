package pipeline_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
)

// script is a life of a node: what it applies and what it sees on DA.
func script(w *world) []func(context.Context, *pipeline.Pipeline) error {
	apply := func(from, to int, src block.Source) func(context.Context, *pipeline.Pipeline) error {
		return func(ctx context.Context, p *pipeline.Pipeline) error { return p.Apply(ctx, w.blocks[from:to], src) }
	}
	include := func(cursor uint64, blocks ...block.Block) func(context.Context, *pipeline.Pipeline) error {
		return func(ctx context.Context, p *pipeline.Pipeline) error {
			var incs []block.Inclusion
			for _, b := range blocks {
				incs = append(incs, seen(b, cursor-1)...)
			}
			return p.Include(ctx, incs, upTo(cursor))
		}
	}
	return []func(context.Context, *pipeline.Pipeline) error{
		apply(0, 3, block.SourceP2P),
		include(10, w.at(1), w.at(2), w.at(5)),
		apply(3, 4, block.SourceLocal),
		apply(4, 6, block.SourceDA),
		include(11, w.at(3), w.at(4), w.at(6), w.at(7)),
		apply(0, 8, block.SourceP2P),
		include(12, w.at(8)),
	}
}

// live runs the script to its end, starting a new pipeline over the same disk
// and executor whenever the process died.
func live(t *testing.T, w *world) {
	t.Helper()
	var p *pipeline.Pipeline
	steps := script(w)
	for i, failures := 0, 0; i < len(steps); {
		var err error
		if p == nil {
			p = pipeline.New(w.params())
			if err = p.Open(t.Context()); err != nil {
				p = nil
			}
		}
		if err == nil {
			if err = steps[i](t.Context(), p); err == nil {
				i++
				continue
			}
		}
		failures++
		require.Less(t, failures, 5, "it recovers: %v", err)
		require.False(t, isPermanent(err), "%v", err)
		if w.faults.dead {
			p = nil
			i = 0 // the sources bring everything again
			w.faults.reset(0, false)
		}
	}
}

func TestInvariant9_CrashAnywhere(t *testing.T) {
	for _, plain := range []bool{false, true} {
		clean := newWorld(t, 8)
		clean.exec.plain = plain
		live(t, clean)
		require.Equal(t, uint64(8), clean.store.final)
		calls := clean.faults.calls
		require.Greater(t, calls, 60)
		for _, crash := range []bool{true, false} {
			for at := 1; at <= calls; at++ {
				t.Run(fmt.Sprintf("plain=%t/crash=%t/%d-%s", plain, crash, at, clean.faults.ran[at-1]), func(t *testing.T) {
					w := newWorld(t, 8)
					w.exec.plain = plain
					w.faults.reset(at, crash)
					live(t, w)
					require.Empty(t, w.exec.again, "a committed block was executed again")
					require.Equal(t, clean.store.states[8].AppHash, w.store.states[8].AppHash)
					require.Equal(t, w.roots[8], w.exec.roots[8])
					require.Equal(t, uint64(8), w.store.final)
					require.Equal(t, uint64(12), w.store.cursor)
					told := w.exec.finals
					if plain || !crash { // it does not remember, or said that it failed after the work
						told = slices.Compact(slices.Sorted(slices.Values(told)))
					}
					require.Equal(t, heights(1, 8), told, "told once, in order")
					require.Equal(t, clean.store.incs, w.store.incs)
				})
			}
		}
	}
}

// clone is the disk as it was, for a power cut that loses what was not synced.
func (s *memStore) clone() *memStore {
	c := newMemStore(s.faults)
	c.genesis, c.last, c.final, c.cursor = s.genesis, s.last, s.final, s.cursor
	c.states, c.incs = maps.Clone(s.states), maps.Clone(s.incs)
	c.top, c.revert = s.top, s.revert
	c.headers, c.data, c.proofs = s.headers, s.data, s.proofs
	return c
}

// Whatever order blocks and inclusions come in, and however often the node
// dies, it ends where a straight run ends.
func TestAnyOrderEndsInTheSameState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 25).Draw(rt, "blocks")
		w := newWorld(t, n)
		w.cfg.GroupBlocks = rapid.IntRange(1, 8).Draw(rt, "group")
		w.exec.plain = rapid.Bool().Draw(rt, "plain")
		var incs []block.Inclusion
		for i, b := range w.blocks {
			incs = append(incs, seen(b, uint64(i+2))...)
		}
		p := w.start()
		older := w.store.clone()
		for range rapid.IntRange(0, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1:
				from := rapid.IntRange(0, n-1).Draw(rt, "from")
				to := rapid.IntRange(from, n).Draw(rt, "to")
				src := rapid.SampledFrom([]block.Source{block.SourceP2P, block.SourceDA}).Draw(rt, "src")
				err := p.Apply(t.Context(), w.blocks[from:to], src)
				if uint64(from)+1 > p.Next() && from < to {
					require.ErrorIs(rt, err, pipeline.ErrGap)
				} else {
					require.NoError(rt, err)
				}
			case 2, 3:
				some := rapid.SliceOfN(rapid.SampledFrom(incs), 0, 6).Draw(rt, "incs")
				require.NoError(rt, p.Include(t.Context(), some, upTo(uint64(rapid.IntRange(0, 50).Draw(rt, "cursor")))))
			case 4:
				w.faults.reset(rapid.IntRange(1, 12).Draw(rt, "fault"), true)
				_ = p.Apply(t.Context(), w.blocks, block.SourceP2P)
				w.faults.reset(0, false)
				p = w.start()
			case 5:
				if !w.exec.plain && rapid.Bool().Draw(rt, "power cut") {
					w.store, w.exec.store = older, older
					older = older.clone()
				} else {
					older = w.store.clone()
				}
				p = w.start()
			}
			s := p.Snapshot()
			require.LessOrEqual(rt, s.Final, s.Applied())
			require.Equal(rt, s.Applied(), w.store.last)
			require.Equal(rt, s.Final, w.store.final)
			require.Equal(rt, w.roots[s.Applied()], s.State.AppHash)
			for h := uint64(1); h <= s.Final; h++ {
				require.Equal(rt, w.at(h).Header.Digest(), w.store.incs[h].HeaderHash)
			}
		}
		require.NoError(rt, p.Apply(t.Context(), w.blocks, block.SourceP2P))
		require.NoError(rt, p.Include(t.Context(), incs, upTo(100)))
		s := p.Snapshot()
		require.Equal(rt, uint64(n), s.Applied())
		require.Equal(rt, uint64(n), s.Final)
		require.Equal(rt, w.roots[uint64(n)], s.State.AppHash)
		require.Empty(rt, w.exec.again)
	})
}

// Applies, inclusions and readers from many goroutines.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, 200)
	w.cfg.GroupBlocks = 7
	p := w.start()
	done := make(chan error, 4)
	for _, src := range []block.Source{block.SourceP2P, block.SourceDA} {
		go func() {
			var err error
			for i := 0; i < 200 && err == nil; i += 10 {
				err = p.Apply(t.Context(), w.blocks[:i+10], src)
			}
			done <- err
		}()
	}
	go func() {
		var err error
		for i, b := range w.blocks {
			if err == nil {
				err = p.Include(t.Context(), seen(b, uint64(i+1)), upTo(uint64(i+2)))
			}
		}
		done <- err
	}()
	go func() {
		last := uint64(0)
		for {
			changed := p.Changed()
			s := p.Snapshot()
			_ = p.Judge(s.Applied(), nil)
			if s.Applied() < last || s.Final > s.Applied() {
				done <- fmt.Errorf("snapshot went from %d to %d, final %d", last, s.Applied(), s.Final)
				return
			}
			if last = s.Applied(); s.Final == 200 {
				done <- nil
				return
			}
			<-changed
		}
	}()
	for range 4 {
		require.NoError(t, <-done)
	}
	require.Equal(t, heights(1, 200), w.exec.ran)
	require.Equal(t, heights(1, 200), w.exec.finals)
}

// A caller that gives up does not wait for its turn.
func TestWaitingForTheTurnEndsWithTheContext(t *testing.T) {
	w := newWorld(t, 1)
	p := w.start()
	entered, release := make(chan struct{}), make(chan struct{})
	w.exec.onRun = func(block.Execution) error { close(entered); <-release; return nil }
	done := make(chan error)
	go func() { done <- p.Apply(t.Context(), w.blocks, block.SourceP2P) }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.Include(ctx, nil, upTo(5)), context.Canceled)
	close(release)
	require.NoError(t, <-done)
}
