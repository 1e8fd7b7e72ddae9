package repair_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/repair"
	"github.com/tandem-node/tandem/testutil"
)

// world is a chain and the home of a node that follows it, on the disk.
type world struct {
	t      *testing.T
	chain  *testutil.Chain
	blocks []block.Block // blocks[i] has height i+1
	p      repair.Params
}

// newWorld makes a chain of n blocks, each with a transaction.
func newWorld(t *testing.T, executor string, n int) *world {
	t.Helper()
	w := &world{t: t, chain: testutil.NewChain("c")}
	dir := t.TempDir()
	w.p = repair.Params{
		Genesis: w.chain.Genesis, DB: leveldb.Default(), Store: chainstore.Default(), Execution: execution.Default(),
		ExecutionDir: filepath.Join(dir, "execution"), Pipeline: pipeline.Default(), Log: zap.NewNop(),
	}
	w.p.DB.Path = filepath.Join(dir, "chain.db")
	w.p.Execution.Name, w.p.Execution.KeepVersions = executor, 8
	w.blocks = w.story(w.chain, n, "a")
	return w
}

// story makes the next n blocks of a chain, whose roots are those of the executor
// that was given all blocks of w before.
func (w *world) story(c *testutil.Chain, n int, value string) []block.Block {
	w.t.Helper()
	exec, err := execution.New(w.p.Execution, w.t.TempDir(), zap.NewNop())
	require.NoError(w.t, err)
	life := exec.(execution.Lifecycle)
	require.NoError(w.t, life.Open(w.t.Context()))
	defer func() { require.NoError(w.t, life.Close()) }()
	root, err := exec.InitChain(w.t.Context(), c.Genesis)
	require.NoError(w.t, err)
	execute := func(b block.Block) {
		res, err := exec.ExecuteTxs(w.t.Context(), block.Execution{Height: b.Height(), Time: b.Header.Time(), Txs: b.Data.Txs, PrevRoot: root})
		require.NoError(w.t, err)
		root = res.StateRoot
	}
	for _, b := range w.blocks {
		execute(b)
	}
	var made []block.Block
	c.Root = func(uint64) []byte { return root }
	for i := range n {
		b := c.Next(fmt.Appendf(nil, "k%d=%s", i, value))
		execute(b)
		made = append(made, b)
	}
	return made
}

func (w *world) at(height uint64) block.Block { return w.blocks[height-1] }

// node is what is open of the home while its node runs.
type node struct {
	*pipeline.Pipeline

	store *chainstore.Store
	exec  execution.Executor
	close func()
}

// start opens the home as a node does. Close must follow.
func (w *world) start() (*node, error) {
	w.t.Helper()
	db := leveldb.New(w.p.DB)
	if err := db.Open(); err != nil {
		return nil, err
	}
	s := chainstore.New(db, w.p.Store, w.p.Log)
	exec, err := execution.New(w.p.Execution, w.p.ExecutionDir, w.p.Log)
	require.NoError(w.t, err)
	if err := s.Open(w.t.Context()); err != nil {
		require.NoError(w.t, db.Close())
		return nil, err
	}
	if err := exec.(execution.Lifecycle).Open(w.t.Context()); err != nil {
		require.NoError(w.t, db.Close())
		return nil, err
	}
	n := &node{store: s, exec: exec, close: func() {
		require.NoError(w.t, exec.(execution.Lifecycle).Close())
		require.NoError(w.t, db.Close())
	}}
	n.Pipeline = pipeline.New(pipeline.Params{
		Genesis: w.p.Genesis, Store: s, Headers: s.Headers(), Data: s.Data(), Executor: exec, Config: w.p.Pipeline, Log: w.p.Log,
		ExecutorName: w.p.Execution.Name,
	})
	if err := n.Open(w.t.Context()); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// live runs the node while do does.
func (w *world) live(do func(n *node)) {
	w.t.Helper()
	n, err := w.start()
	require.NoError(w.t, err)
	defer n.close()
	do(n)
}

// applied makes a home that has applied blocks to a height, of which those to
// another one are final.
func (w *world) applied(to, final uint64) {
	w.t.Helper()
	w.live(func(n *node) {
		n.take(w.t, w.blocks[:to])
		n.include(w.t, w.blocks[:final]...)
		require.Equal(w.t, final, n.Snapshot().Final)
	})
}

// take stores blocks, as they come from peers, and applies them.
func (n *node) take(t *testing.T, blocks []block.Block) {
	t.Helper()
	n.keep(t, blocks)
	require.NoError(t, n.Apply(t.Context(), blocks, block.SourceP2P))
}

// keep stores blocks.
func (n *node) keep(t *testing.T, blocks []block.Block) {
	t.Helper()
	require.NoError(t, n.store.Headers().Append(t.Context(), testutil.Headers(blocks)...))
	require.NoError(t, n.store.Data().Append(t.Context(), testutil.DataOf(blocks)...))
}

// include says that DA holds blocks, each at its own height.
func (n *node) include(t *testing.T, blocks ...block.Block) {
	t.Helper()
	for _, b := range blocks {
		at := b.Height() + 10
		require.NoError(t, n.Include(t.Context(), []block.Inclusion{
			{Height: b.Height(), Kind: block.KindHeader, Hash: b.Header.Digest(), Header: b.Header, DAHeight: at},
			{Height: b.Height(), Kind: block.KindData, Hash: b.Data.Commitment(), DAHeight: at},
		}, block.DAPositions{Floor: at + 1, Scanned: at + 1}))
	}
}

// follows starts the node and gives it all blocks, from peers and DA. It must end
// with the chain of w, all of it final.
func (w *world) follows() {
	w.t.Helper()
	w.live(func(n *node) {
		n.take(w.t, w.blocks)
		n.include(w.t, w.blocks...)
		s, last := n.Snapshot(), w.blocks[len(w.blocks)-1]
		require.Equal(w.t, last.Header.Digest(), s.AppliedHash)
		require.Equal(w.t, s.Applied(), s.Final)
		w.level(n)
	})
}

// level checks that the executor is where the chain is.
func (w *world) level(n *node) {
	w.t.Helper()
	height, err := n.exec.(execution.HeightProvider).LatestHeight(w.t.Context())
	require.NoError(w.t, err)
	require.Equal(w.t, n.Snapshot().Applied(), height)
	root, err := n.exec.(execution.RootProvider).StateRoot(w.t.Context())
	require.NoError(w.t, err)
	require.Equal(w.t, n.State().AppHash, root)
}

// executors are the names of the executors that keep state.
func executors() []string { return []string{execution.NameKV, execution.NameEvolveKV} }

// signed is a signer that remembers a height.
func signed(height uint64) func(context.Context) (uint64, error) {
	return func(context.Context) (uint64, error) { return height, nil }
}
