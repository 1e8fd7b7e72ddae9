package pipeline_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/powerdisk"
)

var powerSeeds = flag.Uint64("power.seeds", 6, "seeds to run in each mode and for each executor")

// machine is a node whose store and executor lose their power.
type machine struct {
	t     *testing.T
	disk  *powerdisk.Disk
	chain *testutil.Chain
	cfg   execution.Config
	store *chainstore.Store
	exec  execution.Executor
	close func()
}

func (m *machine) open() (*pipeline.Pipeline, error) {
	cfg := leveldb.Default()
	cfg.Path, cfg.WriteBufferBytes = "chain", 64<<10
	db := leveldb.New(cfg, leveldb.OnDisk(m.disk))
	exec, err := execution.New(m.cfg, "executor", zap.NewNop(), leveldb.OnDisk(m.disk))
	require.NoError(m.t, err)
	m.exec = exec
	life := exec.(execution.Lifecycle)
	m.close = func() {
		_, _ = db.Close(), life.Close() // without power, at times
	}
	if err := db.Open(); err != nil {
		return nil, err
	}
	if err := life.Open(m.t.Context()); err != nil {
		return nil, err
	}
	m.store = chainstore.New(db, chainstore.Default(), zap.NewNop())
	if err := m.store.Open(m.t.Context()); err != nil {
		return nil, err
	}
	now := m.chain.Genesis.StartTime.AddDate(1, 0, 0)
	p := pipeline.New(pipeline.Params{
		Genesis: m.chain.Genesis, Store: m.store, Headers: m.store.Headers(), Data: m.store.Data(), Executor: exec,
		Now: func() time.Time { return now }, Config: pipeline.Default(),
	})
	return p, p.Open(m.t.Context())
}

// follow hands over a story as DA shows it, and applies it. It ends where there is
// no power any more.
func (m *machine) follow(p *pipeline.Pipeline, story []block.Block) error {
	d := disk{t: m.t, store: m.store}
	const atOnce = 7
	for n := atOnce; ; n += atOnce {
		if err := d.follow(p, story[:min(n, len(story))]); err != nil || n >= len(story) {
			return err
		}
	}
}

// longStories makes two stories of one chain that part at a height.
func longStories(t *testing.T, cfg execution.Config, blocks, common int) (chain *testutil.Chain, theirs, ours []block.Block) {
	t.Helper()
	story := func(name string) (out []block.Block) {
		chain = testutil.NewChain("power")
		k, err := execution.New(cfg, t.TempDir(), zap.NewNop())
		require.NoError(t, err)
		require.NoError(t, k.(execution.Lifecycle).Open(t.Context()))
		defer func() { require.NoError(t, k.(execution.Lifecycle).Close()) }()
		root, err := k.InitChain(t.Context(), chain.Genesis)
		require.NoError(t, err)
		chain.Root = func(uint64) []byte { return root }
		for h := range blocks {
			var txs [][]byte
			if h%4 != 3 {
				txs = append(txs, fmt.Appendf(nil, "k%d=v%d", h%9, h))
			}
			if h >= common {
				txs = append(txs, fmt.Appendf(nil, "story=%s%d", name, h))
			}
			b := chain.Next(txs...)
			res, err := k.ExecuteTxs(t.Context(), block.Execution{Height: b.Height(), Time: b.Header.Time(), Txs: b.Data.Txs, PrevRoot: root})
			require.NoError(t, err)
			root = res.StateRoot
			out = append(out, b)
		}
		return out
	}
	theirs, ours = story("p2p"), story("da")
	return chain, theirs, ours
}

// A follower that loses its power anywhere, while it catches up, while it rolls back
// to follow DA and while it starts again, starts without help and ends with the
// chain on DA.
func TestPowerCuts(t *testing.T) {
	seeds := *powerSeeds
	if testing.Short() {
		seeds = 2
	}
	for _, name := range []string{execution.NameKV, execution.NameEvolveKV} {
		cfg := execution.Default()
		cfg.Name, cfg.KeepVersions, cfg.KeepUnfinal = name, 8, 64
		chain, theirs, ours := longStories(t, cfg, 60, 25)
		for what, mode := range map[string]powerdisk.Mode{"synced": powerdisk.Synced, "torn": powerdisk.Torn} {
			for seed := range seeds {
				t.Run(fmt.Sprintf("%s/%s/seed %d", name, what, seed), func(t *testing.T) {
					m := &machine{t: t, disk: powerdisk.New(seed, mode), chain: chain, cfg: cfg}
					m.live(rand.New(rand.NewPCG(seed, 0)), theirs, ours)
				})
			}
		}
	}
}

func (m *machine) live(random *rand.Rand, theirs, ours []block.Block) {
	t := m.t
	for cuts := 0; ; cuts++ {
		if cuts < 8 {
			m.disk.CutAfter(1 + random.IntN(1200>>random.IntN(6)))
		}
		p, err := m.open()
		if err == nil && m.store.Headers().Height() == 0 {
			err = m.believe(p, theirs)
		}
		if err == nil {
			err = m.follow(p, ours)
		}
		if err != nil {
			require.True(t, m.disk.Off(), "it fails with its power on: %v", err)
			m.close()
			m.disk.Restart()
			continue
		}
		m.disk.CutAfter(0)
		s := p.Snapshot()
		require.Equal(t, ours[len(ours)-1].Header.Digest(), s.AppliedHash)
		require.Equal(t, s.Applied(), s.Final)
		m.close()
		return
	}
}

// believe applies what peers say.
func (m *machine) believe(p *pipeline.Pipeline, theirs []block.Block) error {
	for i := range theirs[:50] {
		if err := m.store.Headers().Append(m.t.Context(), theirs[i].Header); err != nil {
			return err
		}
		if err := m.store.Data().Append(m.t.Context(), theirs[i].Data); err != nil {
			return err
		}
		if err := p.Apply(m.t.Context(), theirs[i:i+1], block.SourceP2P); err != nil {
			return err
		}
	}
	return nil
}

// Two databases: what a power cut leaves of one says nothing about the other. The
// executor keeps what it may be rolled back to, however little is kept otherwise.
func TestExecutorKeepsWhatTheChainMayLose(t *testing.T) {
	for _, name := range []string{execution.NameKV, execution.NameEvolveKV} {
		cfg := execution.Default()
		cfg.Name, cfg.KeepVersions = name, 8
		chain, _, ours := longStories(t, cfg, 60, 0)
		m := &machine{t: t, disk: powerdisk.New(0, powerdisk.Synced), chain: chain, cfg: cfg}
		p, err := m.open()
		require.NoError(t, err)
		require.NoError(t, m.follow(p, ours))
		require.Equal(t, uint64(60), p.Snapshot().Final)
		flushed := m.store.Flushed()
		require.Less(t, flushed, uint64(52), "more is kept than keep_versions alone asks for")
		require.NoError(t, m.exec.(execution.Rollbacker).Rollback(t.Context(), flushed))
		m.close()
	}
}
