package pipeline_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil"
)

// openChainstore opens the node's real store in a directory.
func openChainstore(tb testing.TB, dir string) (*chainstore.Store, func()) {
	tb.Helper()
	cfg := leveldb.Default()
	cfg.Path = filepath.Join(dir, "db")
	db := leveldb.New(cfg)
	require.NoError(tb, db.Open())
	s := chainstore.New(db, chainstore.Default(), zap.NewNop())
	require.NoError(tb, s.Open(tb.Context()))
	return s, func() { require.NoError(tb, db.Close()) }
}

// The same life as over the store of the tests, on the real one.
func TestOverChainstore(t *testing.T) {
	w := newWorld(t, 40)
	w.exec.store = newMemStore(w.faults) // knows of no commit
	dir := t.TempDir()
	var s *chainstore.Store
	var done func()
	open := func() *pipeline.Pipeline {
		s, done = openChainstore(t, dir)
		with := w.params()
		with.Store, with.Headers, with.Data = s, s.Headers(), s.Data()
		p := pipeline.New(with)
		require.NoError(t, p.Open(t.Context()))
		return p
	}

	p := open()
	require.NoError(t, s.Headers().Append(t.Context(), testutil.Headers(w.blocks[:30])...))
	require.NoError(t, s.Data().Append(t.Context(), testutil.DataOf(w.blocks[:30])...))
	require.NoError(t, p.Apply(t.Context(), w.blocks[:20], block.SourceP2P))
	require.NoError(t, p.Include(t.Context(), slices.Concat(seen(w.at(1), 3), seen(w.at(2), 3), seen(w.at(25), 4)), upTo(5)))
	require.Equal(t, uint64(2), p.Snapshot().Final)
	done()

	w.behind(7)
	w.exec.ran = nil
	p = open()
	require.Equal(t, heights(8, 20), w.exec.ran)
	require.Equal(t, uint64(20), p.Snapshot().Applied())
	require.Equal(t, w.at(2).Header.Digest(), p.Snapshot().FinalHash)
	require.NoError(t, p.Apply(t.Context(), w.blocks[10:30], block.SourceDA))
	require.Equal(t, uint64(4), p.Snapshot().State.DAHeight)
	for _, b := range w.blocks[30:] {
		require.NoError(t, p.Apply(t.Context(), []block.Block{b}, block.SourceLocal))
	}
	require.Equal(t, uint64(40), s.Headers().Height())
	require.Equal(t, uint64(40), s.Data().Height())
	var incs []block.Inclusion
	for _, b := range w.blocks {
		incs = append(incs, seen(b, 6)...)
	}
	require.NoError(t, p.Include(t.Context(), incs, upTo(7)))
	require.Equal(t, uint64(40), p.Snapshot().Final)
	done()

	p = open()
	require.Equal(t, uint64(40), p.Snapshot().Final)
	require.Equal(t, w.roots[40], p.Snapshot().State.AppHash)
	require.Equal(t, uint64(7), s.DA().Floor)
	require.Equal(t, heights(1, 40), w.exec.finals)
	done()

	s, done = openChainstore(t, dir)
	defer done()
	with := w.params()
	with.Store, with.Headers, with.Data = s, s.Headers(), s.Data()
	with.Genesis.DAEpochForcedInclusion++
	err := pipeline.New(with).Open(t.Context())
	require.Error(t, err)
	require.True(t, isPermanent(err))
}

// BenchmarkApplyChainstore is BenchmarkApply over the node's store on disk.
func BenchmarkApplyChainstore(b *testing.B) {
	const n = 4096
	chain := testutil.NewChain("bench")
	blocks := chain.Blocks(n, 2)
	for _, bl := range blocks {
		require.NoError(b, bl.Header.VerifySignature())
	}
	for _, group := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			var mallocs uint64
			for b.Loop() {
				b.StopTimer()
				s, done := openChainstore(b, b.TempDir())
				require.NoError(b, s.Headers().Append(b.Context(), testutil.Headers(blocks)...))
				require.NoError(b, s.Data().Append(b.Context(), testutil.DataOf(blocks)...))
				p := pipeline.New(pipeline.Params{
					Genesis: chain.Genesis, Store: s, Headers: s.Headers(), Data: s.Data(), Executor: idle{}, Config: pipeline.Default(),
				})
				require.NoError(b, p.Open(b.Context()))
				mallocs += applyAll(b, p, blocks, group)
				done()
				b.StartTimer()
			}
			report(b, mallocs, n)
		})
	}
}

// applyAll runs the clock and returns the number of allocations.
func applyAll(b *testing.B, p *pipeline.Pipeline, blocks []block.Block, group int) uint64 {
	b.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.StartTimer()
	for i := 0; i < len(blocks); i += group {
		if err := p.Apply(b.Context(), blocks[i:i+group], block.SourceP2P); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

func report(b *testing.B, mallocs uint64, blocks int) {
	b.Helper()
	per := float64(b.N) * float64(blocks)
	b.ReportMetric(float64(mallocs)/per, "allocs/block")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/per, "ns/block")
}
