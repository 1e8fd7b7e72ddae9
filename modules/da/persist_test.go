package da

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestRestartKeepsTheChain(t *testing.T) {
	cfg := testServerConfig()
	cfg.Dir = t.TempDir()
	s, stop := startServer(t, cfg)
	c := newTestClient(t, testConfig(s.URL()))
	height, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{[]byte("kept"), pattern(5000)})
	require.NoError(t, err)
	s.SetFreeze(true)
	_, err = s.Produce() // off the grid: a second run of times
	require.NoError(t, err)
	s.SetFreeze(false)
	s.SetBlockTime(MinBlockTime)
	waitHeight(t, s, height+10)
	blobs, err := c.Blobs(t.Context(), height, NamespaceOf("a"))
	require.NoError(t, err)
	require.Len(t, blobs, 2)
	s.SetFreeze(true)
	_, body := post(t, s.URL(), rpcCall("state.Balance", "[]"))
	head := s.Status().Height
	before := make([]Head, head+1)
	for h := uint64(1); h <= head; h++ {
		before[h], err = c.HeaderAt(t.Context(), h)
		require.NoError(t, err)
		require.True(t, before[h].Time.After(before[h-1].Time), "time rises")
	}
	stop()

	cfg.Freeze = true
	s, stop = startServer(t, cfg)
	c = newTestClient(t, testConfig(s.URL()))
	require.Equal(t, head, s.Status().Height)
	for h := uint64(1); h <= head; h++ {
		got, err := c.HeaderAt(t.Context(), h)
		require.NoError(t, err)
		require.Equal(t, before[h], got)
	}
	got, err := c.Blobs(t.Context(), height, NamespaceOf("a"))
	require.NoError(t, err)
	require.Equal(t, blobs, got)
	_, again := post(t, s.URL(), rpcCall("state.Balance", "[]"))
	require.Equal(t, body, again)
	next, err := s.Produce()
	require.NoError(t, err)
	require.Equal(t, head+1, next)
	require.NoError(t, s.PruneBelow(height+1))
	stop()

	s, _ = startServer(t, cfg)
	_, err = s.Client().Blobs(t.Context(), height, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrPruned)
	it := s.node.db.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		require.NotEqual(t, byte(keyBlob), it.Key()[0], "pruned blobs are gone")
	}
}

func TestStoreInUse(t *testing.T) {
	cfg := testServerConfig()
	cfg.Dir = t.TempDir()
	startServer(t, cfg)
	second, err := NewServer(cfg, zap.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, second.Listen(t.Context()), "in use by another process")
}

func TestStoreIsCorrupt(t *testing.T) {
	for name, damage := range map[string]func(l *ledger) error{
		"meta":    func(l *ledger) error { return l.db.Put([]byte{keyMeta}, []byte{1}, nil) },
		"times":   func(l *ledger) error { return l.db.Put(heightKey(keySegment, 1), []byte{1}, nil) },
		"no time": func(l *ledger) error { return l.db.Delete(heightKey(keySegment, 1), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := openLedger(dir, time.Second)
			require.NoError(t, err)
			_, err = l.produce(time.Now())
			require.NoError(t, err)
			require.NoError(t, damage(l))
			require.NoError(t, l.close())
			require.NoError(t, l.close())
			_, err = openLedger(dir, time.Second)
			require.ErrorContains(t, err, "DA store")
		})
	}
}

const childDir = "TANDEM_DA_TEST_DIR"

// TestChild is the process that TestKill kills: a server on disk that posts to itself.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child process")
	}
	cfg := testServerConfig()
	cfg.Dir, cfg.BlockTime = dir, 10*time.Millisecond
	s, _ := startServer(t, cfg)
	c := s.Client()
	for i := 0; ; i++ {
		height, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{pattern(1 + i%3000)})
		if err != nil {
			return
		}
		fmt.Fprintf(os.Stdout, "posted %d %d\n", height, 1+i%3000)
	}
}

// TestKill kills a writing process and reads everything it had announced.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	announced := map[uint64][]int{}
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			var height uint64
			var size int
			if _, err := fmt.Sscanf(lines.Text(), "posted %d %d", &height, &size); err != nil {
				require.NotContains(t, lines.Text(), "FAIL")
				continue
			}
			announced[height] = append(announced[height], size)
			if n++; n == 20+7*round {
				require.NoError(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // it was killed
	}
	cfg := testServerConfig()
	cfg.Dir, cfg.Freeze = dir, true
	s, _ := startServer(t, cfg)
	require.NotEmpty(t, announced)
	for height, sizes := range announced {
		blobs, err := s.Client().Blobs(t.Context(), height, NamespaceOf("a"))
		require.NoError(t, err)
		require.Len(t, blobs, len(sizes))
		require.Len(t, blobs[0].Data, sizes[0])
	}
	last := Head{}
	for h := uint64(1); h <= s.Status().Height; h++ {
		head, err := s.Client().HeaderAt(t.Context(), h)
		require.NoError(t, err)
		require.True(t, head.Time.After(last.Time))
		last = head
	}
}

// TestTimesAreAGrid: blocks made on time cost no time record, others one.
func TestTimesAreAGrid(t *testing.T) {
	l, err := openLedger("", time.Second)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) uint64 {
		h, err := l.produce(start.Add(d))
		require.NoError(t, err)
		return h
	}
	at(0)
	at(1200 * time.Millisecond)
	at(2900 * time.Millisecond)
	require.Len(t, l.segments, 1)
	h, err := l.header(3)
	require.NoError(t, err)
	require.Equal(t, start.Add(2*time.Second), h.time)
	at(9 * time.Second) // after a freeze: now, and no blocks to catch up with
	require.Len(t, l.segments, 2)
	at(0) // the clock went back: time does not
	h, err = l.header(5)
	require.NoError(t, err)
	require.Equal(t, start.Add(9*time.Second+1), h.time)
	wait, _ := l.untilNext(start.Add(9 * time.Second))
	require.Equal(t, time.Second+1, wait)
	_, err = l.header(6)
	require.ErrorContains(t, err, "no block at height 6")
}

func TestMempoolIsBounded(t *testing.T) {
	l, err := openLedger("", time.Second)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	n := 0
	for ; ; n++ {
		if err = l.submit(&ledgerTx{size: 8 << 20}); err != nil {
			break
		}
	}
	require.Equal(t, maxPendingBytes/(8<<20), n)
	require.ErrorIs(t, classify(1, err.Error()), ErrBusy)
	_, err = l.produce(time.Now())
	require.NoError(t, err)
	require.Len(t, l.pending, n-maxBlockBytes/(8<<20), "a block takes what fits, the rest waits")
	_, err = l.produce(time.Now())
	require.NoError(t, err)
	require.Len(t, l.pending, n-2*maxBlockBytes/(8<<20))
}

func TestClosedLedger(t *testing.T) {
	l, err := openLedger("", time.Second)
	require.NoError(t, err)
	_, err = l.produce(time.Now())
	require.NoError(t, err)
	tx := &ledgerTx{}
	require.NoError(t, l.submit(tx))
	sub, err := l.subscribe()
	require.NoError(t, err)
	require.NoError(t, l.close())
	_, err = tx.await(t.Context())
	require.ErrorIs(t, err, errLedgerClosed)
	_, open := <-sub.heights
	require.False(t, open)
	l.unsubscribe(sub)
	_, err = l.produce(time.Now())
	require.ErrorIs(t, err, errLedgerClosed)
	require.ErrorIs(t, l.submit(tx), errLedgerClosed)
	require.ErrorIs(t, l.reach(t.Context(), 1, false), errLedgerClosed)
	require.ErrorIs(t, l.prune(1), errLedgerClosed)
	require.ErrorIs(t, l.scan(1, Namespace{}, nil), errLedgerClosed)
	_, err = l.header(1)
	require.ErrorIs(t, err, errLedgerClosed)
	_, err = l.subscribe()
	require.ErrorIs(t, err, errLedgerClosed)
}
