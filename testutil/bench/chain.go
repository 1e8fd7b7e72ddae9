package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil"
)

// chainSpec names a chain. Equal specs give equal chains, bit for bit.
type chainSpec struct {
	Blocks   int
	Txs      int    // transactions of 100 bytes per block
	Executor string // whose state roots are in the headers
	Unseen   bool   // the home holds the blocks but has applied none of them
}

// chunk is how many blocks are written at once while a chain is made.
const chunk = 512

// maker makes the blocks of a spec one after another.
type maker struct {
	chain *testutil.Chain
	exec  execution.Executor
	spec  chainSpec
	root  []byte
	made  int
}

// newMaker opens the executor, whose state goes to dir.
func newMaker(ctx context.Context, spec chainSpec, dir string) (*maker, error) {
	cfg := execution.Default()
	cfg.Name = spec.Executor
	exec, err := execution.New(cfg, dir, zap.NewNop())
	if err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	m := &maker{chain: testutil.NewChain("bench"), exec: exec, spec: spec}
	m.chain.Step = 10 * time.Millisecond
	m.chain.Root = func(uint64) []byte { return m.root }
	if l, ok := exec.(execution.Lifecycle); ok {
		if err := l.Open(ctx); err != nil {
			return nil, fmt.Errorf("chain: %w", err)
		}
	}
	m.root, err = exec.InitChain(ctx, m.chain.Genesis)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("chain: %w", err), m.close())
	}
	return m, nil
}

func (m *maker) close() error {
	if l, ok := m.exec.(execution.Lifecycle); ok {
		return l.Close() //nolint:wrapcheck // names itself
	}
	return nil
}

// next makes a block, and executes it to learn the root the one after it names.
func (m *maker) next(ctx context.Context) (block.Block, block.ExecResult, error) {
	m.made++
	b := m.chain.Next(transactions(m.made, m.spec.Txs)...)
	res, err := m.exec.ExecuteTxs(ctx, block.Execution{
		Height: b.Height(), Time: b.Header.Time(), Txs: b.Data.Txs, PrevRoot: m.root,
	})
	if err != nil {
		return b, res, fmt.Errorf("chain: block %d: %w", m.made, err)
	}
	m.root = res.StateRoot
	return b, res, nil
}

// transactions are writes of 100 bytes that the built-in executors understand,
// over 10,000 keys.
func transactions(height, n int) [][]byte {
	const size, keys, stride = 100, 10_000, 7919
	out := make([][]byte, n)
	for i := range out {
		tx := fmt.Appendf(make([]byte, 0, size), "key-%05d=%d-", (height*n+i)*stride%keys, height)
		for len(tx) < size {
			tx = append(tx, 'x')
		}
		out[i] = tx
	}
	return out
}

// blocks makes a whole chain in memory.
func blocks(ctx context.Context, spec chainSpec) (*testutil.Chain, []block.Block, error) {
	m, err := newMaker(ctx, spec, "")
	if err != nil {
		return nil, nil, err
	}
	out := make([]block.Block, spec.Blocks)
	for i := range out {
		if out[i], _, err = m.next(ctx); err != nil {
			return nil, nil, err
		}
	}
	return m.chain, out, m.close()
}

// chain returns the home of a full node that holds the chain. It is made at
// first use; who runs a node that writes on it takes a copy.
func (s *session) chain(ctx context.Context, spec chainSpec) (string, error) {
	if home, ok := s.chains[spec]; ok {
		return home, nil
	}
	home := filepath.Join(s.dir, fmt.Sprintf("chain-%d-%d-%s-%t", spec.Blocks, spec.Txs, spec.Executor, spec.Unseen))
	if err := makeHome(ctx, home, spec); err != nil {
		return "", err
	}
	s.chains[spec] = home
	return home, nil
}

func makeHome(ctx context.Context, home string, spec chainSpec) (err error) {
	executionDir := filepath.Join(home, "data", "execution")
	if spec.Unseen {
		executionDir = filepath.Join(home, "aside") // the node has to execute all of it
	}
	m, err := newMaker(ctx, spec, executionDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	first := m.root
	if _, err := app.Init(app.InitParams{Home: home, Role: app.RoleFull, Genesis: &m.chain.Genesis}); err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	return withStore(ctx, home, func(store *chainstore.Store) error {
		st := block.GenesisState(m.chain.Genesis, first)
		if !spec.Unseen {
			if err := store.SaveGenesis(ctx, m.chain.Genesis, st); err != nil {
				return fmt.Errorf("chain: %w", err)
			}
		}
		return m.fill(ctx, store, st)
	})
}

func (m *maker) fill(ctx context.Context, store *chainstore.Store, st block.State) error {
	for m.made < m.spec.Blocks {
		var (
			made   []block.Block
			states []block.State
		)
		for range min(chunk, m.spec.Blocks-m.made) {
			b, res, err := m.next(ctx)
			if err != nil {
				return err
			}
			st = st.Next(b.Header, res)
			made, states = append(made, b), append(states, st)
		}
		batch := block.Batch{Blocks: made, States: states}
		if m.spec.Unseen {
			batch.States = nil
		}
		if err := store.Commit(ctx, batch); err != nil {
			return fmt.Errorf("chain: %w", err)
		}
	}
	return nil
}

// withStore opens the chain store of a home for f.
func withStore(ctx context.Context, home string, f func(*chainstore.Store) error) (err error) {
	cfg := app.Default().In(home)
	db := leveldb.New(cfg.DB)
	if err := db.Open(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store := chainstore.New(db, cfg.Store, zap.NewNop())
	if err := store.Open(ctx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return f(store)
}

// newHome returns the path of a home that does not exist yet.
func (s *session) newHome() string {
	s.homes++
	return filepath.Join(s.dir, "home-"+strconv.Itoa(s.homes))
}
