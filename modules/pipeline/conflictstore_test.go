package pipeline_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil"
)

// frail makes calls on the node's real store and executor go wrong.
type frail struct {
	*chainstore.Store
	*execution.KV
	f *faults
}

type frailStore struct{ frail }

func (s frailStore) around(name string, call func() error) error {
	if err := s.f.point("before " + name); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return s.f.point("after " + name)
}

func (s frailStore) Commit(ctx context.Context, b block.Batch) error {
	return s.around("commit", func() error { return s.Store.Commit(ctx, b) })
}

func (s frailStore) SaveRevert(ctx context.Context, r block.Revert) error {
	return s.around("revert", func() error { return s.Store.SaveRevert(ctx, r) })
}

func (s frailStore) Truncate(ctx context.Context, to uint64) error {
	return s.around("truncate", func() error { return s.Store.Truncate(ctx, to) })
}

type frailExec struct {
	*execution.KV
	s frailStore
}

func (e frailExec) Rollback(ctx context.Context, height uint64) error {
	return e.s.around("rollback", func() error { return e.KV.Rollback(ctx, height) })
}

func (e frailExec) ExecuteTxs(ctx context.Context, x block.Execution) (res block.ExecResult, err error) {
	err = e.s.around("execute", func() (err error) {
		res, err = e.KV.ExecuteTxs(ctx, x)
		return err
	})
	return res, err
}

// disk is the home of a node with the real store and the kv executor.
type disk struct {
	t      *testing.T
	dir    string
	chain  *testutil.Chain
	faults *faults
	exec   *execution.KV
	store  *chainstore.Store
	close  func()
}

func (d *disk) open() (*pipeline.Pipeline, error) {
	var done func()
	d.store, done = openChainstore(d.t, d.dir)
	d.exec = execution.NewKV(execution.Default(), filepath.Join(d.dir, "exec"), zap.NewNop())
	require.NoError(d.t, d.exec.Open(d.t.Context()))
	d.close = func() {
		require.NoError(d.t, d.exec.Close())
		done()
	}
	s := frailStore{frail{Store: d.store, f: d.faults}}
	now := d.chain.Genesis.StartTime.AddDate(1, 0, 0)
	p := pipeline.New(pipeline.Params{
		Genesis: d.chain.Genesis, Store: s, Headers: d.store.Headers(), Data: d.store.Data(), Executor: frailExec{d.exec, s},
		Now: func() time.Time { return now }, Config: pipeline.Default(),
	})
	return p, p.Open(d.t.Context())
}

// follow brings blocks from DA and applies them, until the node has them or died.
func (d *disk) follow(p *pipeline.Pipeline, story []block.Block) error {
	for range 3 {
		var incs []block.Inclusion
		headers, data := d.store.Headers(), d.store.Data()
		for _, b := range story {
			if headers.Height() < b.Height() {
				if err := headers.Append(d.t.Context(), b.Header); err != nil {
					return err
				}
			}
			have, err := headers.GetByHeight(d.t.Context(), b.Height())
			if err != nil {
				return err
			}
			if have.Digest() != b.Header.Digest() {
				incs = append(incs, contested(b, where(b))...)
				continue
			}
			incs = append(incs, seen(b, where(b))...)
			if data.Height() < b.Height() {
				if err := data.Append(d.t.Context(), b.Data); err != nil {
					return err
				}
			}
		}
		if err := p.Include(d.t.Context(), incs, upTo(100)); err != nil && !reverted(err) {
			return err
		}
		for h := p.Next(); h <= data.Height(); h = p.Next() {
			hd, err := headers.GetByHeight(d.t.Context(), h)
			if err != nil {
				return err
			}
			dt, err := data.GetByHeight(d.t.Context(), h)
			if err != nil {
				return err
			}
			if err := p.Apply(d.t.Context(), []block.Block{{Header: hd, Data: dt}}, block.SourceDA); err != nil {
				return err
			}
		}
	}
	return nil
}

// T1 on the node's own store and executor: it dies at every step in turn and
// still ends at the root of a node that only followed DA.
func TestT1_CrashAnywhereWithChainstoreAndKV(t *testing.T) {
	chain, theirs, ours := kvStories(t)
	life := func(t *testing.T, at int) (*disk, *faults) {
		t.Helper()
		d := &disk{t: t, dir: t.TempDir(), chain: chain, faults: &faults{}}
		p, err := d.open()
		require.NoError(t, err)
		require.NoError(t, d.store.Headers().Append(t.Context(), testutil.Headers(theirs)...))
		require.NoError(t, d.store.Data().Append(t.Context(), testutil.DataOf(theirs)...))
		require.NoError(t, p.Apply(t.Context(), theirs, block.SourceP2P))
		d.faults.reset(at, true)
		for range 5 {
			if err == nil {
				err = d.follow(p, ours)
			}
			if err == nil {
				break
			}
			require.ErrorIs(t, err, errDead)
			d.close()
			d.faults.reset(0, false)
			p, err = d.open()
		}
		require.NoError(t, err)
		s := p.Snapshot()
		require.Equal(t, ours[len(ours)-1].Header.Digest(), s.AppliedHash)
		require.Equal(t, s.Applied(), s.Final)
		all, err := d.store.Evidence(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, all)
		for _, e := range all {
			require.NoError(t, e.Verify(chain.Genesis))
		}
		value, ok, err := d.exec.Get([]byte("story"))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "da", string(value))
		d.close()
		return d, d.faults
	}
	_, clean := life(t, 0)
	require.Greater(t, clean.calls, 15)
	for at := 1; at <= clean.calls; at++ {
		t.Run(fmt.Sprintf("%d-%s", at, clean.ran[at-1]), func(t *testing.T) { life(t, at) })
	}
}

// kvStories makes two stories of one chain, with the roots of the kv executor.
func kvStories(t *testing.T) (chain *testutil.Chain, theirs, ours []block.Block) {
	t.Helper()
	story := func(name string) []block.Block {
		c := testutil.NewChain("kv")
		k := execution.NewKV(execution.Default(), t.TempDir(), zap.NewNop())
		require.NoError(t, k.Open(t.Context()))
		defer func() { require.NoError(t, k.Close()) }()
		root, err := k.InitChain(t.Context(), c.Genesis)
		require.NoError(t, err)
		c.Root = func(uint64) []byte { return root }
		var out []block.Block
		for h := range 5 {
			tx := fmt.Appendf(nil, "k%d=v", h)
			if h >= 2 {
				tx = []byte("story=" + name)
			}
			b := c.Next(tx)
			res, err := k.ExecuteTxs(t.Context(), block.Execution{Height: b.Height(), Time: b.Header.Time(), Txs: b.Data.Txs, PrevRoot: root})
			require.NoError(t, err)
			root = res.StateRoot
			out = append(out, b)
		}
		chain = c
		return out
	}
	theirs, ours = story("p2p"), story("da")
	return chain, theirs, ours
}
