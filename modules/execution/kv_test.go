package execution

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

func openKV(tb testing.TB, dir string, cfg Config) *KV {
	tb.Helper()
	k := NewKV(cfg, dir, zap.NewNop())
	require.NoError(tb, k.Open(tb.Context()))
	tb.Cleanup(func() { require.NoError(tb, k.Close()) })
	return k
}

func memoryDatabase() *database { return &database{DB: leveldb.NewMemory()} }

func initKV(tb testing.TB, cfg Config) *KV {
	tb.Helper()
	k := openKV(tb, tb.TempDir(), cfg)
	_, err := k.InitChain(tb.Context(), testGenesis(1))
	require.NoError(tb, err)
	return k
}

func execute(tb testing.TB, e Executor, height uint64, txs ...string) []byte {
	tb.Helper()
	b := block.Execution{Height: height}
	for _, tx := range txs {
		b.Txs = append(b.Txs, []byte(tx))
	}
	res, err := e.ExecuteTxs(tb.Context(), b)
	require.NoError(tb, err)
	return res.StateRoot
}

func TestKVRoot(t *testing.T) {
	k := initKV(t, Default())
	genesis, err := k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	require.Len(t, genesis, 32)
	require.Equal(t, genesis, execute(t, k, 1), "an empty block keeps the root")
	require.Equal(t, genesis, execute(t, k, 2, "garbage", "=x"), "and so does one without writes")
	root := execute(t, k, 3, "a=1", " b = 2 ", "a=3", "c=")
	require.Len(t, root, 32)
	require.NotEqual(t, genesis, root)
	require.NotEqual(t, root, execute(t, k, 4, "a=3"), "writing the same value is a write")
	for key, want := range map[string]string{"a": "3", "b": "2", "c": ""} {
		value, found, err := k.Get([]byte(key))
		require.NoError(t, err)
		require.True(t, found, key)
		require.Equal(t, want, string(value), key)
	}
	_, found, err := k.Get([]byte("/chain_id"))
	require.NoError(t, err)
	require.False(t, found, "system entries are not readable as keys")

	other := testGenesis(1)
	other.ChainID = "other"
	_, err = k.InitChain(t.Context(), other)
	var foreign *GenesisError
	require.ErrorAs(t, err, &foreign)
	require.True(t, foreign.Permanent())
	o := openKV(t, t.TempDir(), Default())
	otherRoot, err := o.InitChain(t.Context(), other)
	require.NoError(t, err)
	require.NotEqual(t, genesis, otherRoot, "the root commits to the chain")
}

// The value protects chains that exist: a change of the rules changes it.
func TestKVRootStaysTheSame(t *testing.T) {
	k := initKV(t, Default())
	var root []byte
	for h := range uint64(50) {
		root = execute(t, k, h+1, fmt.Sprintf("key%d=%d", h%7, h), fmt.Sprintf("only-%d=x", h))
	}
	require.Equal(t, "db0bab52dc9b40193333d96135a9bc517ee961053c0ee2a808851e8df9b14202", hex.EncodeToString(root))
}

func TestKVRefusals(t *testing.T) {
	k := openKV(t, t.TempDir(), Default())
	_, err := k.ExecuteTxs(t.Context(), block.Execution{Height: 1})
	require.ErrorIs(t, err, ErrNotInitialized)
	require.ErrorIs(t, k.Rollback(t.Context(), 0), ErrNotInitialized)
	_, err = k.InitChain(t.Context(), testGenesis(5))
	require.NoError(t, err)

	for _, height := range []uint64{0, 4, 6, 100} {
		_, err = k.ExecuteTxs(t.Context(), block.Execution{Height: height})
		var order *HeightError
		require.ErrorAs(t, err, &order)
		require.Equal(t, uint64(5), order.Want)
		require.True(t, order.Permanent())
	}
	_, err = k.ExecuteTxs(t.Context(), block.Execution{Height: 5, PrevRoot: []byte("other")})
	var root *RootError
	require.ErrorAs(t, err, &root)
	require.True(t, root.Permanent())
	require.Error(t, k.SetFinal(t.Context(), 0))
	var tooOld *RollbackError
	execute(t, k, 5, "a=1")
	require.ErrorAs(t, k.Rollback(t.Context(), 3), &tooOld)
	require.Equal(t, uint64(4), tooOld.Oldest)
}

func TestKVAgainstModel(t *testing.T) {
	cfg := Default()
	cfg.KeepVersions, cfg.KeepUnfinal = 8, 12
	rapid.Check(t, func(rt *rapid.T) {
		k := NewKV(cfg, "", zaptest.NewLogger(t))
		k.db = memoryDatabase()
		require.NoError(rt, k.Open(t.Context()))
		defer func() { require.NoError(rt, k.Close()) }()
		genesis, err := k.InitChain(t.Context(), testGenesis(1))
		require.NoError(rt, err)
		states := []map[string]string{{}} // by height
		roots := [][]byte{genesis}
		oldest := 0 // what was pruned stays gone after a roll back
		rt.Repeat(map[string]func(*rapid.T){
			"execute": func(rt *rapid.T) {
				height := len(states)
				txs := drawTxs(rt)
				m := maps.Clone(states[height-1])
				for _, tx := range txs {
					if key, value, ok := parseTx(tx); ok {
						m[string(key)] = string(value)
					}
				}
				res, err := k.ExecuteTxs(t.Context(), block.Execution{Height: uint64(height), Txs: txs, PrevRoot: roots[height-1]})
				require.NoError(rt, err)
				states, roots = append(states, m), append(roots, res.StateRoot)
				oldest = max(oldest, height-cfg.KeepVersions)
			},
			"roll back": func(rt *rapid.T) {
				to := rapid.IntRange(min(oldest, len(states)-1), len(states)-1).Draw(rt, "to")
				require.NoError(rt, k.Rollback(t.Context(), uint64(to)))
				states, roots = states[:to+1], roots[:to+1]
			},
			"reopen": func(rt *rapid.T) {
				require.NoError(rt, k.Close())
				require.NoError(rt, k.Open(t.Context()))
			},
			"final": func(rt *rapid.T) {
				if len(states) > 1 {
					require.NoError(rt, k.SetFinal(t.Context(), uint64(rapid.IntRange(1, len(states)-1).Draw(rt, "final"))))
				}
			},
			"": func(rt *rapid.T) {
				info, err := k.Info(t.Context())
				require.NoError(rt, err)
				require.Equal(rt, uint64(len(states)-1), info.Height)
				require.Equal(rt, roots[len(roots)-1], info.Root)
				have := map[string]string{}
				require.NoError(rt, k.list(t.Context(), listRange{}, func(key, value []byte) error {
					have[string(key)] = string(value)
					return nil
				}))
				require.Equal(rt, states[len(states)-1], have)
			},
		})
	})
}

func TestNotOpen(t *testing.T) {
	for _, name := range []string{NameKV, NameEvolveKV} {
		cfg := Default()
		cfg.Name = name
		k, err := New(cfg, t.TempDir(), zap.NewNop())
		require.NoError(t, err)
		_, err = k.InitChain(t.Context(), testGenesis(1))
		require.ErrorIs(t, err, ErrNotOpen)
		_, err = k.ExecuteTxs(t.Context(), block.Execution{Height: 1})
		require.ErrorIs(t, err, ErrNotInitialized)
		require.NoError(t, k.(Lifecycle).Close(), "closing what was never open")
		require.NoError(t, k.(Lifecycle).Open(t.Context()))
		require.NoError(t, k.(Lifecycle).Close())
		_, err = k.InitChain(t.Context(), testGenesis(1))
		require.ErrorIs(t, err, ErrNotOpen)
	}
}

func TestKVKeyLimit(t *testing.T) {
	k := initKV(t, Default())
	longest, tooLong := strings.Repeat("k", maxKeyBytes), strings.Repeat("k", maxKeyBytes+1)
	genesis := k.root
	require.Equal(t, genesis, execute(t, k, 1, tooLong+"=v"))
	require.NotEqual(t, genesis, execute(t, k, 2, longest+"=v"))
}

// Long values do not make the cache of nodes larger than configured.
func TestKVCacheIsBoundedByBytes(t *testing.T) {
	cfg := Default()
	cfg.CacheBytes = 1 << 20
	k, control := initKV(t, cfg), initKV(t, Default())
	before := k.nodes
	fresh := 0
	for h := uint64(1); h <= 40; h++ {
		tx := fmt.Sprintf("key%d=%s", h%9, strings.Repeat(strconv.FormatUint(h%10, 10), 100_000))
		require.Equal(t, execute(t, control, h, tx), execute(t, k, h, tx))
		require.LessOrEqual(t, k.nodes.long.Load(), int64(cfg.CacheBytes))
		if k.nodes != before {
			before = k.nodes
			fresh++
		}
	}
	require.Positive(t, fresh)
}

// Rolled back far, over several batches, and executed again.
func TestKVDeepRollback(t *testing.T) {
	k := initKV(t, Default())
	const blocks = 3*rollbackStep + 5
	var roots [][]byte
	run := func(from uint64) {
		for h := from; h <= blocks; h++ {
			root := execute(t, k, h, fmt.Sprintf("k%d=%d", h%11, h))
			if uint64(len(roots)) < h {
				roots = append(roots, root)
			}
			require.Equal(t, roots[h-1], root)
		}
	}
	run(1)
	for _, to := range []uint64{0, 1, rollbackStep, blocks - rollbackStep, blocks - rollbackStep - 1} {
		require.NoError(t, k.Rollback(t.Context(), to))
		height, err := k.LatestHeight(t.Context())
		require.NoError(t, err)
		require.Equal(t, to, height)
		run(to + 1)
	}
}

// One batch per block that writes, none for others, whatever came before; and
// what is kept on disk is bounded.
func TestKVCostDoesNotGrow(t *testing.T) {
	cfg := Default()
	cfg.KeepVersions, cfg.KeepUnfinal = 100, 200
	k := initKV(t, cfg)
	const keys, txs = 500, 4
	height := uint64(0)
	run := func(blocks int) (batches, entries, bytes int) {
		before := k.db.writes
		for range blocks {
			height++
			b := block.Execution{Height: height}
			for i := range uint64(txs) {
				b.Txs = append(b.Txs, fmt.Appendf(nil, "key-%d=%d", (height*txs+i)*7919%keys, height))
			}
			_, err := k.ExecuteTxs(t.Context(), b)
			require.NoError(t, err)
			require.NoError(t, k.SetFinal(t.Context(), height))
		}
		it := k.db.NewIterator(nil, nil)
		defer it.Close()
		for it.Next() {
			entries++
			bytes += len(it.Key()) + len(it.Value())
		}
		return k.db.writes - before, entries, bytes
	}
	_, _, _ = run(500) // all keys exist, pruning has begun
	batches, entriesEarly, bytesEarly := run(500)
	require.Equal(t, 500, batches)
	batches, entriesLate, bytesLate := run(1500)
	require.Equal(t, 1500, batches)
	t.Logf("after 1000 blocks: %d entries, %d bytes; after 2500: %d entries, %d bytes", entriesEarly, bytesEarly, entriesLate, bytesLate)
	require.InEpsilon(t, entriesEarly, entriesLate, 0.1)
	require.InEpsilon(t, bytesEarly, bytesLate, 0.1)
	require.Equal(t, uint64(cfg.KeepVersions), k.pos.version-k.pos.first)

	before := k.db.writes
	for range persistEvery {
		height++
		execute(t, k, height)
	}
	require.Equal(t, 1, k.db.writes-before, "blocks without writes")
}

func TestKVKeepsUnfinal(t *testing.T) {
	cfg := Default()
	cfg.KeepVersions, cfg.KeepUnfinal = 8, 50
	k := initKV(t, cfg)
	height := uint64(0)
	run := func(n int) {
		for range n {
			height++
			execute(t, k, height, "k=v")
			height++
			execute(t, k, height)
		}
	}
	run(10)
	require.NoError(t, k.SetFinal(t.Context(), 12)) // made by the version of height 11
	run(20)
	require.NoError(t, k.Rollback(t.Context(), 12), "the final height can be restored")
	height = 12
	run(100)
	require.Equal(t, uint64(50), k.pos.version-k.pos.first, "the bound when nothing becomes final")
	require.NoError(t, k.SetFinal(t.Context(), height))
	for range 60 {
		run(1)
		require.NoError(t, k.SetFinal(t.Context(), height))
	}
	require.Equal(t, uint64(8), k.pos.version-k.pos.first, "caught up")
	require.NoError(t, k.Close())
	require.NoError(t, k.Open(t.Context()))
	run(20)
	require.Equal(t, uint64(20), k.pos.version-k.pos.first, "down to the final height, which survived the restart")
}

// Whatever group of blocks is only in memory is replayed, not lost.
func TestKVForgetsOnlyEmptyBlocks(t *testing.T) {
	dir := t.TempDir()
	k := openKV(t, dir, Default())
	_, err := k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	root := execute(t, k, 1, "a=1")
	execute(t, k, 2)
	execute(t, k, 3)
	require.NoError(t, k.db.Close()) // as a crash would: nothing is written any more
	require.NoError(t, k.Open(t.Context()))
	_, err = k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	height, err := k.LatestHeight(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), height)
	require.Equal(t, root, execute(t, k, 2))
}

func TestKVFailedWriteChangesNothing(t *testing.T) {
	k := initKV(t, Default())
	root := execute(t, k, 1, "a=1")
	require.NoError(t, k.db.Close())
	_, err := k.ExecuteTxs(t.Context(), block.Execution{Height: 2, Txs: [][]byte{[]byte("a=2")}})
	require.Error(t, err)
	require.NoError(t, k.Open(t.Context()))
	info, err := k.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), info.Height)
	require.Equal(t, root, info.Root)
	value, _, err := k.Get([]byte("a"))
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
}

func TestKVDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	k := openKV(t, dir, Default())
	_, err := k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	k.pending.Put([]byte{recordPosition}, []byte("short"))
	require.NoError(t, k.db.write(k.pending, false))
	k.pending.Reset()
	require.NoError(t, k.db.Close())
	k.tree = nil
	require.ErrorContains(t, k.Open(t.Context()), "damaged")
	require.ErrorContains(t, errors.Join(k.Open(t.Context())), dir)
}

func TestKVPages(t *testing.T) {
	k := initKV(t, Default())
	var want, have []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("k%02d", i))
	}
	txs := make([]string, 0, len(want))
	for _, key := range slices.Backward(want) {
		txs = append(txs, key+"=v")
	}
	execute(t, k, 1, txs...)
	for after := []byte(nil); ; {
		n := 0
		require.NoError(t, k.list(t.Context(), listRange{after: after, limit: 10}, func(key, _ []byte) error {
			have = append(have, string(key))
			after = key
			n++
			return nil
		}))
		if n == 0 {
			break
		}
		require.LessOrEqual(t, n, 10)
	}
	require.Equal(t, want, have)
}
