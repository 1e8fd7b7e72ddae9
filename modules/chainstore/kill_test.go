package chainstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil"
)

// The test binary runs itself as a process that writes until it is killed.
const (
	writerPath = "CHAINSTORE_TEST_WRITER"
	writerSync = "CHAINSTORE_TEST_SYNC"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerPath); path != "" {
		err := write(path, os.Getenv(writerSync) != "", os.Stdout)
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1) //nolint:forbidigo // this is the main function of the writer
	}
	os.Exit(m.Run()) //nolint:forbidigo // so is this of the tests
}

// killConfig makes a small database that starts new journals and tables often.
func killConfig(path string) leveldb.Config {
	cfg := leveldb.Default()
	cfg.Path, cfg.WriteBufferBytes = path, 256<<10
	return cfg
}

// write goes on with the chain in path for ever: batches of headers and of data,
// states, whole blocks, now and then a truncation. Whatever has returned is
// reported with one line.
func write(path string, sync bool, report io.Writer) error {
	db := leveldb.New(killConfig(path))
	if err := db.Open(); err != nil {
		return err
	}
	cfg := Default()
	cfg.Sync = sync
	s := New(db, cfg, zap.NewNop())
	ctx := context.Background()
	l := testutil.NewChain("chain")
	genesis := block.GenesisState(l.Genesis, nil)
	if err := errors.Join(s.Open(ctx), s.SaveGenesis(ctx, l.Genesis, genesis)); err != nil {
		return err
	}
	w := &killWriter{s: s, chain: l, report: report, states: []block.State{genesis}}
	for {
		if err := w.round(ctx); err != nil {
			return err
		}
	}
}

type killWriter struct {
	s      *Store
	chain  *testutil.Chain
	report io.Writer
	blocks []block.Block // from height 1
	states []block.State // from height 0
}

// upTo makes the chain up to a height; it is the same in every process.
func (w *killWriter) upTo(height uint64) {
	for uint64(len(w.blocks)) < height {
		h := len(w.blocks) + 1
		b := w.chain.Next(fmt.Appendf(nil, "%0*d", 50+h%300, h))
		w.blocks = append(w.blocks, b)
		w.states = append(w.states, w.states[h-1].Next(b.Header, block.ExecResult{StateRoot: []byte{byte(h)}}))
	}
}

func (w *killWriter) say(what string, height uint64) {
	fmt.Fprintln(w.report, what, height)
}

func (w *killWriter) round(ctx context.Context) error {
	st, err := w.s.State(ctx)
	if err != nil {
		return err
	}
	headers, data, state := w.s.Headers().Height(), w.s.Data().Height(), st.LastHeight
	n := rand.Uint64N(20) + 1
	w.upTo(max(headers, data, state) + n)
	switch {
	case state == headers && state == data && n < 5: // as a sequencer
		err := w.s.Commit(ctx, block.Batch{Blocks: w.blocks[state : state+n], States: w.states[state+1 : state+n+1]})
		w.say("headers", state+n)
		w.say("data", state+n)
		w.say("state", state+n)
		return err
	case n == 6 && state > 30:
		w.say("truncate", state-10)
		return w.s.Truncate(ctx, state-10)
	case n%3 == 0:
		err = w.s.Headers().Append(ctx, testutil.Headers(w.blocks[headers:headers+n])...)
		w.say("headers", headers+n)
	case n%3 == 1:
		err = w.s.Data().Append(ctx, testutil.DataOf(w.blocks[data:data+n])...)
		w.say("data", data+n)
	default:
		to := min(headers, data)
		if to <= state {
			return nil
		}
		var ins []block.Inclusion
		for _, b := range w.blocks[state:to] {
			ins = append(ins, block.Inclusion{Height: b.Height(), Kind: block.KindHeader, Hash: b.Header.Digest(), DAHeight: 7})
		}
		err = w.s.Commit(ctx, block.Batch{States: w.states[state+1 : to+1], Inclusions: ins, Final: to, DA: block.DAPositions{Floor: to}})
		w.say("state", to)
	}
	return err
}

// promised follows the writer's report: what must be there after the kill.
type promised struct{ headers, data, state uint64 }

func (p *promised) read(lines io.Reader, seen func(line int)) error {
	sc := bufio.NewScanner(lines)
	for line := 1; sc.Scan(); line++ {
		seen(line)
		what, number, _ := strings.Cut(sc.Text(), " ")
		height, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			continue // the last line may be cut off
		}
		switch what {
		case "headers":
			p.headers = height
		case "data":
			p.data = height
		case "state":
			p.state = height
		case "truncate":
			p.headers, p.data, p.state = min(p.headers, height), min(p.data, height), min(p.state, height)
		}
	}
	return nil
}

func TestKilledWriterLeavesAPrefix(t *testing.T) {
	for name, sync := range map[string]string{"every write synced": "1", "not synced": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "db")
			w := &killWriter{chain: testutil.NewChain("chain")}
			w.states = []block.State{block.GenesisState(w.chain.Genesis, nil)}
			var want promised
			for range 10 {
				killAWriter(t, path, sync, &want)
				verify(t, path, w, &want)
			}
			require.Greater(t, want.state, uint64(30), "too little was written to tell")
		})
	}
}

// killAWriter lets a writer report a random number of writes and kills it a moment
// later. Its pace does not matter.
func killAWriter(t *testing.T, path, sync string, want *promised) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), writerPath+"="+path, writerSync+"="+sync)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	enough := 10 + rand.IntN(50)
	require.NoError(t, want.read(out, func(line int) {
		if line == enough {
			time.AfterFunc(rand.N(3*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}))
	err = cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "signal: killed", exit.Error(), said.String())
}

// verify opens what the writer left behind.
func verify(t *testing.T, path string, w *killWriter, want *promised) {
	t.Helper()
	db := leveldb.New(killConfig(path))
	require.NoError(t, db.Open())
	defer func() { require.NoError(t, db.Close()) }()
	s := openOn(t, db, Default())
	ctx := t.Context()
	st, err := s.State(ctx)
	require.NoError(t, err)
	got := promised{s.Headers().Height(), s.Data().Height(), st.LastHeight}
	require.GreaterOrEqual(t, got.headers, want.headers)
	require.GreaterOrEqual(t, got.data, want.data)
	require.GreaterOrEqual(t, got.state, want.state)
	require.LessOrEqual(t, got.state, min(got.headers, got.data))
	require.LessOrEqual(t, s.Final(), got.state)
	*want = got

	w.upTo(max(got.headers, got.data))
	for _, b := range w.blocks[:got.headers] {
		alias := block.Sum(b.Header.Encode())
		for _, hash := range [][]byte{b.Header.Hash(), alias[:]} {
			h, err := s.Headers().Get(ctx, hash)
			require.NoError(t, err, "header %d", b.Height())
			require.Equal(t, b.Header.Digest(), h.Digest())
		}
	}
	for _, b := range w.blocks[:got.data] {
		d, err := s.Data().Get(ctx, b.Data.Hash())
		require.NoError(t, err, "data %d", b.Height())
		require.Equal(t, b.Data.Encode(), d.Encode())
	}
	for height := range got.state + 1 {
		st, err := s.StateAt(ctx, height)
		require.NoError(t, err)
		require.Equal(t, w.states[height].Encode(), st.Encode())
	}
	count := records(t, s)
	require.Equal(t, []int{int(got.headers), 2 * int(got.headers), int(got.data), int(got.data), int(got.state) + 1},
		[]int{count[nsHeader], count[nsHeaderIndex], count[nsData], count[nsDataIndex], count[nsState]}, "nothing is left over")
}
