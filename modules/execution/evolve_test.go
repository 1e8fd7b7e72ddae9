package execution

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
)

func openEvolve(tb testing.TB, dir string, cfg Config) *EvolveKV {
	tb.Helper()
	k := NewEvolveKV(cfg, dir, zaptest.NewLogger(tb))
	require.NoError(tb, k.Open(tb.Context()))
	tb.Cleanup(func() { require.NoError(tb, k.Close()) })
	return k
}

// The blocks were produced by ev-node v1.2.3.
func TestEvolveVectors(t *testing.T) {
	file, err := os.ReadFile("testdata/evolve_roots.json")
	require.NoError(t, err)
	var blocks []struct {
		Height  uint64   `json:"height"`
		Txs     []string `json:"txs_hex"`
		Root    string   `json:"state_root_after"`
		AppHash string   `json:"app_hash_in_header"`
	}
	require.NoError(t, json.Unmarshal(file, &blocks))
	require.Len(t, blocks, 26)

	k := openEvolve(t, t.TempDir(), Default())
	prev, err := k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	require.Empty(t, prev)
	for _, b := range blocks {
		require.Equal(t, b.AppHash, hex.EncodeToString(prev))
		e := block.Execution{Height: b.Height, PrevRoot: prev}
		for _, s := range b.Txs {
			tx, err := hex.DecodeString(s)
			require.NoError(t, err)
			e.Txs = append(e.Txs, tx)
		}
		res, err := k.ExecuteTxs(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, b.Root, hex.EncodeToString(res.StateRoot), "height %d", b.Height)
		require.Empty(t, res.NextProposer)
		prev = res.StateRoot
	}
	value, found, err := k.Get([]byte("a/c"))
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "d = e", string(value))
}

func TestEvolveKey(t *testing.T) {
	for key, want := range map[string]string{
		"key":      "/height/19/key",
		"a/b/../c": "/height/19/a/c",
		"/x":       "/height/19/x",
		"a//b/./c": "/height/19/a/b/c",
		"../3/y":   "/height/3/y",
		"../../..": "/height/",
		"..":       "/height/",
		".":        "/height/19",
		"a/":       "/height/19/a",
	} {
		require.Equal(t, want, evolveKey(19, []byte(key)), "%q", key)
	}
}

// evolveModel is the root as evolve-wire §4.2 words it.
type evolveModel map[string]string

func (m evolveModel) root() string {
	var s strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s.WriteString(k + ":" + m[k] + ";")
	}
	return s.String()
}

func (m evolveModel) apply(height uint64, txs [][]byte) {
	for _, tx := range txs {
		if key, value, ok := parseTx(tx); ok {
			m[evolveKey(height, key)] = string(value)
		}
	}
}

func TestEvolveAgainstModel(t *testing.T) {
	cfg := Default()
	cfg.KeepVersions, cfg.KeepUnfinal = 8, 12
	rapid.Check(t, func(rt *rapid.T) {
		k := NewEvolveKV(cfg, "", zaptest.NewLogger(t))
		k.db = memoryDatabase()
		require.NoError(rt, k.Open(t.Context()))
		defer func() { require.NoError(rt, k.Close()) }()
		_, err := k.InitChain(t.Context(), testGenesis(1))
		require.NoError(rt, err)
		states := []evolveModel{{}} // by height
		oldest := 0                 // what was pruned stays gone after a roll back
		rt.Repeat(map[string]func(*rapid.T){
			"execute": func(rt *rapid.T) {
				height := uint64(len(states))
				txs := drawTxs(rt)
				m := maps.Clone(states[height-1])
				m.apply(height, txs)
				res, err := k.ExecuteTxs(t.Context(), block.Execution{Height: height, Txs: txs, PrevRoot: []byte(states[height-1].root())})
				require.NoError(rt, err)
				require.Equal(rt, m.root(), string(res.StateRoot))
				states = append(states, m)
				oldest = max(oldest, len(states)-1-cfg.KeepVersions)
			},
			"roll back": func(rt *rapid.T) {
				to := rapid.IntRange(min(oldest, len(states)-1), len(states)-1).Draw(rt, "to")
				require.NoError(rt, k.Rollback(t.Context(), uint64(to)))
				states = states[:to+1]
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
				require.Equal(rt, states[len(states)-1].root(), string(info.Root))
			},
		})
	})
}

func TestEvolveUndoReachesOtherHeights(t *testing.T) {
	k := openEvolve(t, t.TempDir(), Default())
	_, err := k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	run := func(height uint64, txs ...string) string {
		e := block.Execution{Height: height}
		for _, tx := range txs {
			e.Txs = append(e.Txs, []byte(tx))
		}
		res, err := k.ExecuteTxs(t.Context(), e)
		require.NoError(t, err)
		return string(res.StateRoot)
	}
	first := run(1, "a=1", "b=")
	require.Equal(t, "/height/1/a:1;/height/1/b:;", first)
	require.Equal(t, "/height/1/a:9;/height/1/b:9;/height/2/c:2;", run(2, "../1/a=9", "../1/b=9", "c=2"))
	require.NoError(t, k.SetFinal(t.Context(), 2))
	require.NoError(t, k.Rollback(t.Context(), 1))
	info, err := k.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, string(info.Root))
	require.Equal(t, uint64(1), info.Final, "not above what is left")
}

func TestConcatenationMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var c concatenation
		model := evolveModel{}
		var handedOut, copies []string
		for range rapid.IntRange(1, 6).Draw(rt, "blocks") {
			batch := rapid.MapOf(rapid.StringMatching("[a-d:;]{0,3}"), rapid.StringMatching("[x:;]{0,3}")).Draw(rt, "batch")
			var entries []kvEntry
			for _, k := range slices.Sorted(maps.Keys(batch)) {
				entries = append(entries, kvEntry{key: []byte(k), value: []byte(batch[k])})
			}
			maps.Copy(model, batch)
			before := c.text
			kept := string(before)
			c.merge(entries)
			require.Equal(rt, kept, string(before), "what was handed out must not change")
			require.Equal(rt, model.root(), string(c.text))
			handedOut, copies = append(handedOut, kept), append(copies, string(before))
		}
		require.Equal(rt, handedOut, copies)
	})
}

// drawTxs draws transactions of few keys, so that they meet, and garbage.
func drawTxs(rt *rapid.T) [][]byte {
	return rapid.SliceOfN(rapid.OneOf(
		rapid.Map(rapid.StringMatching(` ?[a-c/.]{0,4} ?= ?[a-z=]{0,3} ?`), func(s string) []byte { return []byte(s) }),
		rapid.SliceOfN(rapid.Byte(), 0, 8),
	), 0, 5).Draw(rt, "txs")
}

func testGenesis(initial uint64) block.Genesis {
	g := block.Genesis{ChainID: "test", InitialHeight: initial, ProposerAddress: bytes.Repeat([]byte{1}, 32), DAEpochForcedInclusion: 50}
	return g
}

func TestEvolveRefusesWhatItCannotUndo(t *testing.T) {
	cfg := Default()
	cfg.KeepVersions, cfg.KeepUnfinal = 8, 8
	k := openEvolve(t, t.TempDir(), cfg)
	_, err := k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	for h := range uint64(30) {
		_, err := k.ExecuteTxs(t.Context(), block.Execution{Height: h + 1, Txs: [][]byte{fmt.Appendf(nil, "k=%d", h)}})
		require.NoError(t, err)
	}
	var tooOld *RollbackError
	require.ErrorAs(t, k.Rollback(t.Context(), 5), &tooOld)
	require.Equal(t, uint64(22), tooOld.Oldest)
	require.True(t, tooOld.Permanent())
	require.NoError(t, k.Rollback(t.Context(), 22))
}
