package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil"
)

func TestApplyInOrder(t *testing.T) {
	w := newWorld(t, 10)
	p := w.start()
	require.Equal(t, uint64(1), p.Next())
	changed := p.Changed()
	require.NoError(t, p.Apply(t.Context(), w.blocks[:4], block.SourceP2P))
	<-changed
	require.NoError(t, p.Apply(t.Context(), w.blocks[4:], block.SourceDA))

	s := p.Snapshot()
	require.Equal(t, uint64(10), s.Applied())
	require.Equal(t, uint64(11), p.Next())
	require.Equal(t, w.roots[10], s.State.AppHash)
	require.Equal(t, w.at(10).Header.Digest(), s.AppliedHash)
	require.Equal(t, w.now(), s.AppliedAt)
	require.Equal(t, block.SourceDA, s.Source)
	require.Equal(t, uint64(10), s.Blocks)
	require.Equal(t, uint64(14), s.Txs)
	require.Equal(t, heights(1, 10), w.exec.ran)
	require.Equal(t, heights(1, 10), w.events.applied)
	require.Equal(t, []block.Source{block.SourceP2P, block.SourceDA}, w.events.sources)
}

// The initial height need not be 1.
func TestApplyFromHighInitialHeight(t *testing.T) {
	w := newWorld(t, 0)
	w.chain.Genesis.InitialHeight = 100
	w.roots[99] = genesisRoot(w.chain.Genesis)
	w.grow(w.chain, 3)
	w.store.put(w.blocks...)
	p := w.start()
	require.Equal(t, uint64(100), p.Next())
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.NoError(t, p.Include(t.Context(), seen(w.at(100), 5), upTo(6)))
	require.Equal(t, uint64(100), p.Snapshot().Final)
	low := *w.at(100).Header
	low.Header.Height = 7
	require.ErrorIs(t, p.Apply(t.Context(), []block.Block{{Header: &low, Data: w.at(100).Data}}, block.SourceP2P), pipeline.ErrGap)

	p = w.start()
	require.Equal(t, uint64(102), p.Snapshot().Applied())
	require.Empty(t, w.exec.again)
}

func TestInvariant1_LinkedSignedAndMatching(t *testing.T) {
	stranger := testutil.Key("stranger")
	tests := map[string]struct {
		change func(w *world, b block.Block) block.Block
		rule   block.Rule
	}{
		"broken link": {func(w *world, b block.Block) block.Block {
			h := b.Header.Header
			h.LastHeaderHash = w.at(1).Header.Hash()
			return block.Block{Header: testutil.Sign(w.chain.Key, h), Data: b.Data}
		}, block.ErrBrokenLink},
		"stranger's signature": {func(_ *world, b block.Block) block.Block {
			return block.Block{Header: testutil.Sign(stranger, b.Header.Header), Data: b.Data}
		}, block.ErrProposerNotSigner},
		"stranger's block": {func(_ *world, b block.Block) block.Block {
			h := b.Header.Header
			h.ProposerAddress = block.NewSigner(stranger.Public().(edKey)).Address
			return block.Block{Header: testutil.Sign(stranger, h), Data: b.Data}
		}, block.ErrUnexpectedProposer},
		"bad signature": {func(_ *world, b block.Block) block.Block {
			return block.Block{Header: block.NewSignedHeader(b.Header.Header, make([]byte, 64), b.Header.Signer), Data: b.Data}
		}, block.ErrBadSignature},
		"other data": {func(_ *world, b block.Block) block.Block {
			return block.Block{Header: b.Header, Data: block.CanonicalData(b.Header, [][]byte{[]byte("x")}, nil)}
		}, block.ErrWrongCommitment},
		"other root": {func(w *world, b block.Block) block.Block {
			h := b.Header.Header
			h.AppHash = w.roots[1]
			return block.Block{Header: testutil.Sign(w.chain.Key, h), Data: b.Data}
		}, block.ErrWrongAppHash},
		"future": {func(w *world, b block.Block) block.Block {
			h := b.Header.Header
			h.Time = uint64(w.now().Add(2 * time.Minute).UnixNano())
			return block.Block{Header: testutil.Sign(w.chain.Key, h), Data: b.Data}
		}, block.ErrFutureTime},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 5)
			p := w.start()
			bad := tt.change(w, w.at(4))
			blocks := []block.Block{w.at(1), w.at(2), w.at(3), bad, w.at(5)}
			err := p.Apply(t.Context(), blocks, block.SourceP2P)
			require.ErrorIs(t, err, tt.rule)
			if tt.rule != block.ErrWrongAppHash { // that takes execution to know
				var v *block.Violation
				require.ErrorAs(t, err, &v)
				require.Equal(t, uint64(4), v.Height)
			}
			require.Equal(t, uint64(3), p.Snapshot().Applied(), "what came before is applied")
			require.Equal(t, heights(1, 3), w.exec.ran, "nothing is executed unverified")
			require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceDA), "the honest block is still welcome")
			require.Equal(t, w.roots[5], p.Snapshot().State.AppHash)
		})
	}
}

// The first wrong link is refused, too; there is no free one.
func TestTorture_FreeLinkViolation(t *testing.T) {
	w := newWorld(t, 2)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks[:1], block.SourceP2P))
	h := w.at(2).Header.Header
	h.LastHeaderHash = make([]byte, 32)
	err := p.Apply(t.Context(), []block.Block{{Header: testutil.Sign(w.chain.Key, h), Data: w.at(2).Data}}, block.SourceP2P)
	require.ErrorIs(t, err, block.ErrBrokenLink)
}

func TestDuplicatesFromTheOtherSourceAreDropped(t *testing.T) {
	w := newWorld(t, 6)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks[:4], block.SourceP2P))
	require.NoError(t, p.Apply(t.Context(), w.blocks[:3], block.SourceDA))
	require.NoError(t, p.Apply(t.Context(), w.blocks[2:], block.SourceDA))
	require.NoError(t, p.Apply(t.Context(), nil, block.SourceDA))
	require.Equal(t, heights(1, 6), w.exec.ran)
	require.Equal(t, uint64(6), p.Snapshot().Applied())
}

// More blocks than the pipeline remembers: the store knows the rest.
func TestDuplicatesBeyondMemory(t *testing.T) {
	w := newWorld(t, 1100)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.NoError(t, p.Apply(t.Context(), w.blocks[:1], block.SourceDA))
	p = w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks[1000:], block.SourceDA))
	require.Empty(t, w.exec.again)
}

func TestConflictWithAppliedBlock(t *testing.T) {
	w := newWorld(t, 2)
	fork := w.chain.Fork()
	w.grow(w.chain, 2)
	w.store.put(w.blocks...)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	other := fork.Next([]byte("other"))

	for range 2 {
		err := p.Apply(t.Context(), []block.Block{other}, block.SourceDA)
		var c *block.Conflict[*block.SignedHeader]
		require.ErrorAs(t, err, &c)
		require.Equal(t, uint64(3), c.Height)
		require.Equal(t, w.at(3).Header.Digest(), c.Have.Digest())
		require.Equal(t, other.Header.Digest(), c.Got.Digest())
	}
	logged := w.logs.FilterLevelExact(zapcore.ErrorLevel).All()
	require.Len(t, logged, 1, "logged once")
	require.Equal(t, w.at(3).Header.Digest().String(), logged[0].ContextMap()["have"])
	require.Equal(t, other.Header.Digest().String(), logged[0].ContextMap()["other"])
	require.Equal(t, uint64(4), p.Snapshot().Applied())

	t.Run("a header that proves nothing", func(t *testing.T) {
		forged := block.NewSignedHeader(other.Header.Header, make([]byte, 64), other.Header.Signer)
		err := p.Apply(t.Context(), []block.Block{{Header: forged, Data: other.Data}}, block.SourceDA)
		require.ErrorIs(t, err, block.ErrBadSignature)
		h := other.Header.Header
		key := testutil.Key("stranger")
		h.ProposerAddress = block.NewSigner(key.Public().(edKey)).Address
		err = p.Apply(t.Context(), []block.Block{{Header: testutil.Sign(key, h), Data: other.Data}}, block.SourceDA)
		require.ErrorIs(t, err, block.ErrUnexpectedProposer)
	})
}

func TestGapIsTransient(t *testing.T) {
	w := newWorld(t, 6)
	p := w.start()
	err := p.Apply(t.Context(), w.blocks[2:], block.SourceP2P)
	require.ErrorIs(t, err, pipeline.ErrGap)
	require.EqualError(t, err, "got block 3, want 1: blocks do not follow the applied head")
	require.False(t, isPermanent(err))
	err = p.Apply(t.Context(), []block.Block{w.at(1), w.at(2), w.at(4)}, block.SourceP2P)
	require.ErrorIs(t, err, pipeline.ErrGap)
	require.Equal(t, uint64(2), p.Snapshot().Applied())
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
}

func TestIncompleteBlocksAreRefused(t *testing.T) {
	w := newWorld(t, 3)
	p := w.start()
	require.EqualError(t, p.Apply(t.Context(), []block.Block{{Header: w.at(1).Header}}, block.SourceP2P), "block 1 has no data")
	require.Error(t, p.Apply(t.Context(), []block.Block{{Data: w.at(1).Data}}, block.SourceP2P))
	require.EqualError(t, p.Apply(t.Context(), []block.Block{w.at(1), {}}, block.SourceP2P), "block 2 has no header")
	require.Equal(t, uint64(1), p.Snapshot().Applied())
}

func TestInvariant5_OneAtomicBatchPerGroup(t *testing.T) {
	tests := map[string]struct {
		change func(*pipeline.Config)
		want   []int
	}{
		"all at once":  {func(*pipeline.Config) {}, []int{20}},
		"by number":    {func(c *pipeline.Config) { c.GroupBlocks = 8 }, []int{8, 8, 4}},
		"by bytes":     {func(c *pipeline.Config) { c.GroupBytes = 1 }, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		"one is never": {func(c *pipeline.Config) { c.GroupBlocks = 19 }, []int{19, 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 20)
			tt.change(&w.cfg)
			p := w.start()
			require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
			var got []int
			for _, b := range w.store.batches {
				got = append(got, len(b.States))
				require.Empty(t, b.Blocks, "bodies are in the stores already")
				require.False(t, b.Sync)
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.want, w.events.groups)
		})
	}
}

// A slow executor does not hold back the applied head for a whole group.
func TestGroupEndsByTime(t *testing.T) {
	w := newWorld(t, 6)
	clock := w.now()
	w.exec.onRun = func(block.Execution) error { clock = clock.Add(80 * time.Millisecond); return nil }
	with := w.params()
	with.Now = func() time.Time { return clock }
	p := pipeline.New(with)
	require.NoError(t, p.Open(t.Context()))
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, []int{3, 3}, w.events.groups)
}

// The fsync of a block made here is that of the pending block it was.
func TestLocalBlocksReachTheDisk(t *testing.T) {
	w := newWorld(t, 2)
	clear(w.store.headers)
	clear(w.store.data)
	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks[:1], block.SourceLocal))
	b := w.store.batches[0]
	require.True(t, b.DropPending)
	require.Equal(t, w.blocks[:1], b.Blocks)
	require.Len(t, b.States, 1)

	w.cfg.Sync = true
	p = w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks[1:], block.SourceP2P))
	b = w.store.batches[1]
	require.True(t, b.Sync)
	require.False(t, b.DropPending)
}

func TestExecutorErrorKeepsWhatWasDone(t *testing.T) {
	w := newWorld(t, 6)
	p := w.start()
	broken := errors.New("disk full")
	w.exec.onRun = func(e block.Execution) error {
		if e.Height == 4 {
			return broken
		}
		return nil
	}
	for range 2 {
		err := p.Apply(t.Context(), w.blocks, block.SourceP2P)
		require.ErrorIs(t, err, broken)
		require.EqualError(t, err, "execute block 4: disk full")
		require.False(t, isPermanent(err))
		require.Equal(t, uint64(3), p.Snapshot().Applied())
	}
	w.exec.onRun = nil
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, heights(1, 6), w.exec.ran)
	require.Equal(t, w.roots[6], p.Snapshot().State.AppHash)
}

// An executor that failed after it did the work is taken back first.
func TestExecutorErrorAfterTheWork(t *testing.T) {
	w := newWorld(t, 3)
	p := w.start()
	w.faults.reset(0, false)
	require.NoError(t, p.Apply(t.Context(), w.blocks[:1], block.SourceP2P))
	w.faults.reset(3, false) // inclusion, before execute, after execute
	require.ErrorIs(t, p.Apply(t.Context(), w.blocks, block.SourceP2P), errFault)
	require.Equal(t, uint64(2), w.exec.latest)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, []uint64{1}, w.exec.rolled)
	require.Equal(t, w.roots[3], p.Snapshot().State.AppHash)
	require.Empty(t, w.exec.again)
}

func TestExecutorPanicIsNamed(t *testing.T) {
	w := newWorld(t, 3)
	p := w.start()
	w.exec.onRun = func(e block.Execution) error {
		if e.Height == 2 {
			panic("index out of range")
		}
		return nil
	}
	err := p.Apply(t.Context(), w.blocks, block.SourceP2P)
	require.ErrorContains(t, err, "executor panicked in ExecuteTxs of block 2: index out of range")
	require.True(t, isPermanent(err))
	var pe *pipeline.PanicError
	require.ErrorAs(t, err, &pe)
	require.Contains(t, string(pe.Stack), "apply_test.go")
	require.Equal(t, uint64(1), p.Snapshot().Applied())
	require.ErrorAs(t, p.Apply(t.Context(), w.blocks, block.SourceP2P), &pe, "no more blocks are taken")
	require.ErrorAs(t, p.Include(t.Context(), seen(w.at(1), 1), upTo(2)), &pe)
}

// A commit that failed is tried again before anything else: what was executed
// is not executed again.
func TestFailedCommitIsRepeated(t *testing.T) {
	for _, effect := range []string{"before commit", "after commit"} {
		t.Run(effect, func(t *testing.T) {
			w := newWorld(t, 4)
			w.exec.plain = true
			p := w.start()
			w.faults.reset(0, false)
			require.NoError(t, p.Apply(t.Context(), w.blocks[:2], block.SourceP2P))
			calls := 0
			for i, name := range w.faults.ran {
				if name == effect {
					calls = i + 1
				}
			}
			w.faults.reset(calls, false)
			require.ErrorIs(t, p.Apply(t.Context(), w.blocks[2:], block.SourceP2P), errFault)
			require.Equal(t, uint64(2), p.Snapshot().Applied())
			require.NoError(t, p.Apply(t.Context(), w.blocks[2:], block.SourceP2P))
			require.Equal(t, heights(1, 4), w.exec.ran)
			require.Equal(t, heights(1, 4), w.events.applied)
		})
	}
}

func TestApplyStopsBetweenBlocks(t *testing.T) {
	w := newWorld(t, 10)
	p := w.start()
	ctx, cancel := context.WithCancel(t.Context())
	w.exec.onRun = func(e block.Execution) error {
		if e.Height == 4 {
			cancel()
		}
		return nil
	}
	require.ErrorIs(t, p.Apply(ctx, w.blocks, block.SourceP2P), context.Canceled)
	require.Equal(t, uint64(4), p.Snapshot().Applied(), "executed blocks are committed")
	require.ErrorIs(t, p.Apply(ctx, w.blocks, block.SourceP2P), context.Canceled)
	p = w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Empty(t, w.exec.again)
}

func TestNothingBeforeOpen(t *testing.T) {
	w := newWorld(t, 1)
	p := pipeline.New(w.params())
	require.ErrorIs(t, p.Apply(t.Context(), w.blocks, block.SourceP2P), pipeline.ErrNotOpen)
	require.ErrorIs(t, p.Include(t.Context(), nil, upTo(1)), pipeline.ErrNotOpen)
	require.Equal(t, uint64(1), p.Next())
}

func TestJudge(t *testing.T) {
	w := newWorld(t, 0)
	second := testutil.Key("second")
	address := block.NewSigner(second.Public().(edKey)).Address
	w.grow(w.chain, 3)
	w.exec.proposer = map[uint64][]byte{3: address}
	w.chain.Key, w.chain.Genesis.ProposerAddress = second, address
	w.grow(w.chain, 3)
	w.chain.Genesis.ProposerAddress = w.at(1).Header.Header.ProposerAddress
	w.store.put(w.blocks...)

	p := w.start()
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	for range 2 {
		require.Equal(t, block.Unexpected, p.Judge(0, address))
		for h := uint64(1); h <= 9; h++ {
			signer := w.at(min(h, 6)).Header.Header.ProposerAddress
			require.Equal(t, block.Expected, p.Judge(h, signer), h)
			other := w.at(7 - min(h, 6)).Header.Header.ProposerAddress
			want := block.Unexpected
			if h > p.Next() {
				want = block.Unproven // a block in between may name it
			}
			require.Equal(t, want, p.Judge(h, other), h)
			require.Equal(t, block.Unexpected, p.Judge(h, nil), h)
		}
		p = w.start()
	}
}

func TestConfigValidate(t *testing.T) {
	require.NoError(t, pipeline.Default().Validate())
	for _, change := range []func(*pipeline.Config){
		func(c *pipeline.Config) { c.GroupBlocks = 0 },
		func(c *pipeline.Config) { c.GroupBytes = 0 },
		func(c *pipeline.Config) { c.GroupTime = 0 },
	} {
		c := pipeline.Default()
		change(&c)
		require.ErrorContains(t, c.Validate(), "want")
	}
}
