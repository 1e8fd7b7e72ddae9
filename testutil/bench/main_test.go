package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// TestMain lets this test be started as a child, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childArg {
		if err := start(context.Background(), os.Args[1:], os.Stdout); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func quickSession(t *testing.T) *session {
	t.Helper()
	s, err := newSession(options{quick: true, runs: 1, profile: filepath.Join(t.TempDir(), "profiles")})
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// A node in a child catches up with one in another, near and far, and with DA.
func TestCatchUp(t *testing.T) {
	s := quickSession(t)
	spec := chainSpec{Blocks: 600, Txs: 2, Executor: kv}
	figures := catchUpFigures{key: "near", name: "near"}
	require.NoError(t, s.p2pCase(t.Context(), p2pCase{figures: figures, spec: spec}))
	figures.key = "far"
	require.NoError(t, s.p2pCase(t.Context(), p2pCase{figures: figures, spec: spec, rtt: 20 * time.Millisecond}))
	figures.key = "da"
	require.NoError(t, s.daCase(t.Context(), daCase{figures: figures, spec: spec, perHeight: 10}))
	for _, key := range []string{"near", "far", "da"} {
		require.Positive(t, s.median(key+"/rate"))
		require.Positive(t, s.median(key+"/cpu"))
		require.Positive(t, s.median(key+"/rss"))
		require.FileExists(t, filepath.Join(s.profile, key+".cpu"))
		require.FileExists(t, filepath.Join(s.profile, key+".heap"))
	}
}

// TestPostedHeightsHaveTimes: the heights of a posted chain are as far apart as on a
// DA layer, however quickly they are made, and the last one is of now.
func TestPostedHeightsHaveTimes(t *testing.T) {
	s := quickSession(t)
	home, err := s.chain(t.Context(), chainSpec{Blocks: 25, Executor: noop})
	require.NoError(t, err)
	cfg := da.DefaultServer()
	cfg.Listen, cfg.Freeze = "", true
	server, err := da.NewServer(cfg, zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	require.NoError(t, fill(t.Context(), server, daSpec{Home: home, PerHeight: 10}))
	head, err := server.Client().Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1+3), head.Height)
	require.WithinDuration(t, time.Now(), head.Time, heightTime)
	first, err := server.Client().HeaderAt(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, 3*heightTime, head.Time.Sub(first.Time))
}

func TestChildThatFailsSaysWhy(t *testing.T) {
	s := quickSession(t)
	_, _, err := s.spawn(t.Context(), "node", nodeSpec{Home: t.TempDir()})
	require.ErrorContains(t, err, "genesis")
	_, _, err = s.spawn(t.Context(), "stranger", nodeSpec{})
	require.ErrorContains(t, err, "no child of kind")
}

func TestEqualSpecsGiveEqualChains(t *testing.T) {
	spec := chainSpec{Blocks: 20, Txs: 3, Executor: kv}
	a, _, err := newMakers(t, spec)
	require.NoError(t, err)
	b, _, err := newMakers(t, spec)
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func newMakers(t *testing.T, spec chainSpec) ([]byte, *maker, error) {
	t.Helper()
	m, err := newMaker(t.Context(), spec, t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, m.close()) }()
	var last []byte
	for range spec.Blocks {
		b, _, err := m.next(t.Context())
		if err != nil {
			return nil, nil, err
		}
		require.Len(t, b.Data.Txs, spec.Txs)
		require.Len(t, b.Data.Txs[0], 100)
		last = b.Header.Hash()
	}
	return last, m, nil
}

func TestDelays(t *testing.T) {
	const ms = int64(time.Millisecond)
	made := [][2]int64{{1, 0}, {2, 10 * ms}, {3, 20 * ms}, {4, 30 * ms}, {5, 40 * ms}}
	followed := [][2]int64{{2, 11 * ms}, {4, 35 * ms}}
	require.Equal(t, []lag{{2, 10 * ms, 1}, {3, 20 * ms, 15}, {4, 30 * ms, 5}}, delays(made, followed))
	require.Empty(t, delays(made, nil))
}

func TestQuantile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	require.InDelta(t, 3, quantile(values, half), 0)
	require.InDelta(t, 5, quantile(values, 0.99), 0)
	require.Zero(t, quantile(nil, half))
	require.Equal(t, []float64{5, 1, 4, 2, 3}, values)
}

// TestTail: a p99 of few samples is their maximum, so another quantile is recorded.
func TestTail(t *testing.T) {
	for samples, want := range map[int]struct {
		name  string
		value float64
	}{2000: {"p99", 1980}, 1000: {"p99", 990}, 100: {"p90", 90}, 40: {"p75", 30}, 39: {}} {
		s := quickSession(t)
		values := make([]float64, samples)
		for i := range values {
			values[i] = float64(i + 1)
		}
		s.addTail(report.Figure{Key: "tip", Name: "tip", Unit: "ms"}, values)
		if want.name == "" {
			require.Empty(t, s.report.Rows)
			continue
		}
		require.Len(t, s.report.Rows, 1)
		require.Equal(t, "tip: "+want.name, s.report.Rows[0].Name)
		require.Equal(t, "tip/"+want.name, s.report.Rows[0].Key)
		require.InDelta(t, want.value, s.report.Rows[0].Median(), 0)
	}
}

func TestUsage(t *testing.T) {
	u, err := usageOf(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, u.RSS)
	require.GreaterOrEqual(t, u.Peak, u.RSS)
	require.Positive(t, u.CPU)
	require.Positive(t, u.Switches)
	_, err = usageOf(1 << 30)
	require.Error(t, err)
}

func TestCommandLine(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, start(t.Context(), []string{"-list"}, &out))
	for _, m := range measurements() {
		require.Contains(t, out.String(), m.name)
	}
	require.ErrorContains(t, start(t.Context(), []string{"-run", "["}, &out), "-run")
	require.ErrorContains(t, start(t.Context(), []string{"-run", "^no such thing$"}, &out), "nothing measured")

	out.Reset()
	dir := t.TempDir()
	require.NoError(t, start(t.Context(), []string{
		"-quick", "-run", "^signatures$", "-out", filepath.Join(dir, "out"), "-plots", filepath.Join(dir, "plots"),
	}, &out))
	require.Contains(t, out.String(), "batch of 512")
	files, err := filepath.Glob(filepath.Join(dir, "out", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	var r report.Report
	require.NoError(t, json.Unmarshal(raw, &r))
	require.True(t, r.Quick)
	require.False(t, strings.Contains(string(raw), os.TempDir()) || strings.Contains(string(raw), dir), "no paths of this machine")
}
