package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil"
)

// rival returns another block of a height of w, by the same proposer.
func (w *world) rival(height uint64) block.Block {
	w.t.Helper()
	c := testutil.NewChain("test")
	c.Root = w.chain.Root
	for _, b := range w.blocks[:height-1] {
		require.Equal(w.t, b.Header.Digest(), c.Next(b.Data.Txs...).Header.Digest())
	}
	return c.Next(fmt.Appendf(nil, "rival%d=v", height))
}

// contested is what the DA worker reports of a header that differs from the stored one.
func contested(b block.Block, daHeight uint64) []block.Inclusion {
	incs := seenHeader(b, daHeight)
	incs[0].Header = b.Header
	return incs
}

// forked is a world whose stores hold the blocks of peers, and the story of DA:
// the same up to a height, other blocks above.
type forked struct {
	*world
	da []block.Block // from height 1 on
}

func newForked(tb testing.TB, common, theirs, ours int) *forked {
	tb.Helper()
	w := newWorld(tb, common)
	fork := w.chain.Fork()
	roots := map[uint64][]byte{}
	fork.Root = func(h uint64) []byte {
		if r, ok := roots[h]; ok {
			return r
		}
		return w.roots[h]
	}
	f := &forked{world: w, da: slices.Clone(w.blocks)}
	for i := range ours {
		b := fork.Next(fmt.Appendf(nil, "da%d=v", i))
		prev := w.roots[b.Height()-1]
		if r, ok := roots[b.Height()-1]; ok {
			prev = r
		}
		roots[b.Height()] = nextRoot(prev, b.Height(), b.Data.Txs)
		f.da = append(f.da, b)
	}
	w.grow(w.chain, theirs)
	w.store.put(w.blocks...)
	return f
}

// root is the state an honest node has that follows DA alone.
func (f *forked) root() []byte {
	r := genesisRoot(f.chain.Genesis)
	for _, b := range f.da {
		r = nextRoot(r, b.Height(), b.Data.Txs)
	}
	return r
}

// where returns the DA height at which the test finds a block.
func where(b block.Block) uint64 { return b.Height() + 10 }

// sweep does what the DA worker does once: it reads from the cursor on, appends
// what links, and reports, in full where the stores have another header.
func (f *forked) sweep(ctx context.Context, p *pipeline.Pipeline) error {
	from := f.store.DA().Floor
	var incs []block.Inclusion
	for _, b := range f.da {
		if where(b) < from {
			continue
		}
		f.store.mu.Lock()
		have := f.store.headers[b.Height()]
		prev := f.store.headers[b.Height()-1]
		if have == nil && (prev == nil || prev.Digest() == block.Hash(b.Header.LastHeader())) {
			f.store.headers[b.Height()], have = b.Header, b.Header
		}
		if have != nil && have.Digest() == b.Header.Digest() {
			f.store.data[b.Height()] = b.Data
		}
		f.store.mu.Unlock()
		if have != nil && have.Digest() != b.Header.Digest() {
			incs = append(incs, contested(b, where(b))...)
		} else {
			incs = append(incs, seenHeader(b, where(b))...)
		}
		incs = append(incs, seenData(b, where(b))...)
	}
	return p.Include(ctx, incs, upTo(where(f.da[len(f.da)-1])+1))
}

// sync does what the syncer does once: it applies what the stores hold.
func (f *forked) sync(ctx context.Context, p *pipeline.Pipeline) error {
	var blocks []block.Block
	f.store.mu.Lock()
	for h := p.Next(); f.store.headers[h] != nil && f.store.data[h] != nil; h++ {
		blocks = append(blocks, block.Block{Header: f.store.headers[h], Data: f.store.data[h]})
	}
	f.store.mu.Unlock()
	return p.Apply(ctx, blocks, block.SourceP2P)
}

func reverted(err error) bool {
	_, ok := errors.AsType[*pipeline.RevertedError](err)
	return ok
}

// settle lets DA worker and syncer run until both have nothing left to do, and
// starts the node again where it died.
func (f *forked) settle(t *testing.T, p *pipeline.Pipeline) *pipeline.Pipeline {
	t.Helper()
	top := f.da[len(f.da)-1].Height()
	for range 30 {
		if p == nil {
			p = pipeline.New(f.params())
			if err := p.Open(t.Context()); err != nil {
				require.False(t, isPermanent(err), "%v", err)
				p = nil
			}
		}
		if p != nil {
			for _, step := range []func(context.Context, *pipeline.Pipeline) error{f.sync, f.sweep} {
				if err := step(t.Context(), p); err != nil {
					require.False(t, isPermanent(err), "%v", err)
				}
			}
			if s := p.Snapshot(); s.Applied() == top && s.Final == top {
				return p
			}
		}
		if f.faults.dead {
			p = nil
			f.faults.reset(0, false)
		}
	}
	t.Fatal("it does not end at the chain of DA")
	return nil
}

// T1: whatever the order in which the two stories arrive, the node ends with the
// state of one that only ever read DA, and keeps the proof.
func TestT1_FollowDAInEveryOrder(t *testing.T) {
	orders := map[string]func(*testing.T, *forked) *pipeline.Pipeline{
		"applied from peers, then da": func(t *testing.T, f *forked) *pipeline.Pipeline {
			t.Helper()
			p := f.start()
			require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
			return p
		},
		"stored from peers, then da": func(_ *testing.T, f *forked) *pipeline.Pipeline { return f.start() },
		"da noted, then peers": func(t *testing.T, f *forked) *pipeline.Pipeline {
			t.Helper()
			p := f.start()
			require.NoError(t, p.Include(t.Context(), seen(f.da[3], where(f.da[3])), upTo(0)))
			err := p.Apply(t.Context(), f.blocks, block.SourceP2P)
			var e *pipeline.EquivocationError
			require.ErrorAs(t, err, &e)
			require.Equal(t, uint64(3), p.Snapshot().Applied(), "the other story is not applied")
			return p
		},
		"peers, restart, da": func(t *testing.T, f *forked) *pipeline.Pipeline {
			t.Helper()
			require.NoError(t, f.start().Apply(t.Context(), f.blocks, block.SourceP2P))
			return f.start()
		},
		"peers, da noted, restart": func(t *testing.T, f *forked) *pipeline.Pipeline {
			t.Helper()
			p := f.start()
			require.NoError(t, p.Apply(t.Context(), f.blocks[:4], block.SourceP2P))
			require.Error(t, p.Include(t.Context(), seen(f.da[3], where(f.da[3])), upTo(where(f.da[3])+1)))
			return f.start()
		},
	}
	for name, order := range orders {
		for _, headersOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/headers only %t", name, headersOnly), func(t *testing.T) {
				f := newForked(t, 3, 4, 6)
				f.cfg.HeadersOnly = headersOnly
				p := f.settle(t, order(t, f))
				require.Equal(t, f.da[8].Header.Digest(), p.Snapshot().AppliedHash)
				if !headersOnly {
					require.Equal(t, f.root(), p.Snapshot().State.AppHash)
					require.Equal(t, f.root(), f.exec.roots[9])
				}
				require.NotEmpty(t, f.store.proofs)
				for _, e := range f.store.proofs {
					require.NoError(t, e.Verify(f.chain.Genesis))
					require.NotZero(t, e.Second.DAHeight)
				}
				require.Len(t, f.logs.FilterLevelExact(zapcore.ErrorLevel).All(), len(f.store.proofs), "one error per pair")
				require.Equal(t, uint64(1), p.Conflicts().Reverts+uint64(f.restarts(p)))
				require.Nil(t, f.store.revert)
				require.Empty(t, f.strays(), "what is above the fork follows it")
			})
		}
	}
}

// strays are the warnings about headers on DA that follow nothing known.
func (f *forked) strays() []observer.LoggedEntry {
	return f.logs.FilterMessageSnippet("does not follow the chain kept here").All()
}

// restarts is 1 when the revert was made by an earlier process.
func (f *forked) restarts(p *pipeline.Pipeline) int {
	if p.Conflicts().Reverts == 0 && len(f.events.reverts) > 0 {
		return 1
	}
	return 0
}

// T1: the node may die, or a call fail, at any step of a rollback.
func TestT1_CrashAtEveryStepOfARollback(t *testing.T) {
	clean := newForked(t, 3, 4, 6)
	p := clean.start()
	require.NoError(t, p.Apply(t.Context(), clean.blocks, block.SourceP2P))
	before := clean.faults.calls
	clean.settle(t, p)
	calls := clean.faults.calls
	for _, crash := range []bool{true, false} {
		for at := before + 1; at <= calls; at++ {
			t.Run(fmt.Sprintf("crash=%t/%d-%s", crash, at, clean.faults.ran[at-1]), func(t *testing.T) {
				f := newForked(t, 3, 4, 6)
				p := f.start()
				require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
				f.faults.at, f.faults.crash = at, crash
				p = f.settle(t, p)
				require.Equal(t, f.root(), p.Snapshot().State.AppHash)
				require.Equal(t, f.root(), f.exec.roots[9])
				require.Equal(t, uint64(9), f.exec.latest)
				require.Nil(t, f.store.revert)
				require.Len(t, f.store.proofs, len(clean.store.proofs))
				require.Equal(t, clean.store.incs, f.store.incs)
				require.Equal(t, heights(1, 9), slices.Compact(slices.Sorted(slices.Values(f.exec.finals))))
			})
		}
	}
}

// The proposer forked earlier than the header that DA shows first.
func TestConflictThatIsFoundFromTheTop(t *testing.T) {
	f := newForked(t, 2, 4, 4)
	p := f.start()
	require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
	require.NoError(t, p.Include(t.Context(), contested(f.da[4], 7), upTo(8)), "it follows nothing that is known")
	require.Equal(t, uint64(6), p.Snapshot().Applied())
	require.Len(t, f.strays(), 1)
	require.Len(t, f.store.proofs, 1)
	err := p.Include(t.Context(), contested(f.da[2], 9), upTo(10))
	var back *pipeline.RevertedError
	require.ErrorAs(t, err, &back)
	require.Equal(t, uint64(2), back.To)
	require.LessOrEqual(t, back.RewindTo(), uint64(7), "all of it is read again")
	require.Equal(t, back.RewindTo(), f.store.cursor)
	require.Equal(t, f.da[2].Header.Digest(), f.store.headers[3].Digest())
	f.store.cursor = 0
	require.Equal(t, f.root(), f.settle(t, p).Snapshot().State.AppHash)
}

func TestConflictPolicyHalt(t *testing.T) {
	for name, change := range map[string]func(*forked){
		"by config":                  func(f *forked) { f.cfg.Conflict = pipeline.PolicyHalt },
		"executor cannot roll back":  func(f *forked) { f.exec.stiff = true },
		"executor knows no height":   func(f *forked) { f.exec.plain = true },
		"headers only and by config": func(f *forked) { f.cfg.HeadersOnly, f.cfg.Conflict = true, pipeline.PolicyHalt },
	} {
		t.Run(name, func(t *testing.T) {
			f := newForked(t, 3, 2, 2)
			change(f)
			p := f.start()
			require.Equal(t, pipeline.PolicyHalt, p.Conflicts().Policy)
			require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
			for range 2 {
				err := f.sweep(t.Context(), p)
				require.True(t, isPermanent(err), "%v", err)
				require.ErrorContains(t, err, "'tandem repair --apply' rolls back to block 3 and follows it")
				require.ErrorContains(t, err, "evidence")
				require.Equal(t, err, p.Conflicts().Halted)
				require.ErrorIs(t, p.Apply(t.Context(), f.blocks, block.SourceP2P), err, "no more blocks are taken")
				require.Len(t, f.store.proofs, 2)
				require.Equal(t, uint64(5), f.store.last)
				require.Zero(t, f.store.cursor, "it is read again after a restart")
				require.Empty(t, f.strays(), "what is above the fork follows it")
				p = f.start()
			}
		})
	}
	f := newForked(t, 1, 1, 1)
	f.exec.stiff, f.cfg.Conflict = true, pipeline.PolicyFollowDA
	err := pipeline.New(f.params()).Open(t.Context())
	require.True(t, isPermanent(err))
	require.ErrorContains(t, err, "pipeline.conflict")
}

// A final block is never rolled back: DA itself changed its story.
func TestConflictBelowFinalHalts(t *testing.T) {
	f := newForked(t, 3, 4, 4)
	p := f.start()
	require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
	var incs []block.Inclusion
	for _, b := range f.blocks {
		incs = append(incs, seen(b, 20+b.Height())...)
	}
	require.NoError(t, p.Include(t.Context(), incs, upTo(40)))
	require.Equal(t, uint64(7), p.Snapshot().Final)

	require.NoError(t, p.Include(t.Context(), contested(f.da[3], 41), upTo(42)), "it came second")
	require.Len(t, f.store.proofs, 1)
	err := p.Include(t.Context(), contested(f.da[3], 5), upTo(43))
	require.True(t, isPermanent(err), "%v", err)
	require.ErrorContains(t, err, "never rolled back")
	require.Equal(t, uint64(7), f.store.final)
	require.Equal(t, uint64(7), f.store.last)
	require.Equal(t, uint64(42), f.store.cursor)
	require.Len(t, f.logs.FilterLevelExact(zapcore.ErrorLevel).All(), 1, "one error per pair")
}

// T1, P2P against P2P: a proof, and with the policy halt a stop.
func TestT1_TwoHeadersFromPeers(t *testing.T) {
	for _, policy := range []pipeline.Policy{pipeline.PolicyFollowDA, pipeline.PolicyHalt} {
		t.Run(string(policy), func(t *testing.T) {
			f := newForked(t, 2, 2, 2)
			f.cfg.Conflict = policy
			p := f.start()
			require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
			c := &block.Conflict[*block.SignedHeader]{Height: 3, Have: f.at(3).Header, Got: f.da[2].Header}
			for range 3 {
				require.NoError(t, p.Report(t.Context(), c, "some peer"))
			}
			require.Len(t, f.store.proofs, 1)
			require.Len(t, f.logs.FilterLevelExact(zapcore.ErrorLevel).All(), 1)
			require.Equal(t, []block.Hash{f.da[2].Header.Digest()}, f.events.conflicts)
			for _, e := range f.store.proofs {
				require.NoError(t, e.Verify(f.chain.Genesis))
				require.Equal(t, block.SourceP2P, e.Second.Source)
				require.Equal(t, "some peer", e.Second.Peer)
			}
			err := p.Include(t.Context(), nil, upTo(9))
			if policy == pipeline.PolicyHalt {
				require.True(t, isPermanent(err))
				require.ErrorContains(t, err, "start the node again to go on")
				p = f.start()
				require.NoError(t, p.Report(t.Context(), c, "another peer"), "known by now")
				require.NoError(t, p.Include(t.Context(), nil, upTo(9)))
				return
			}
			require.NoError(t, err)
			require.Equal(t, uint64(4), p.Snapshot().Applied(), "DA has not spoken")
			require.Equal(t, f.root(), f.settle(t, p).Snapshot().State.AppHash)
		})
	}
}

// Somebody's own pair of headers accuses nobody.
func TestReportOfAStrangersHeaders(t *testing.T) {
	f := newForked(t, 2, 2, 2)
	p := f.start()
	require.NoError(t, p.Apply(t.Context(), f.blocks, block.SourceP2P))
	h := f.at(3).Header.Header
	h.Time += uint64(time.Millisecond)
	forged := testutil.Sign(testutil.Key("stranger"), h)
	require.NoError(t, p.Report(t.Context(), &block.Conflict[*block.SignedHeader]{Height: 3, Have: f.at(3).Header, Got: forged}, "x"))
	require.Empty(t, f.store.proofs)
	require.Empty(t, f.logs.FilterLevelExact(zapcore.ErrorLevel).All())
}
