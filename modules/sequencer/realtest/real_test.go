// Package realtest_test runs the sequencer on the real chain store, pipeline
// and executor, with processes that are really killed.
package realtest_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

// node is a sequencer without network.
type node struct {
	*pipeline.Pipeline
	*chainstore.Store

	cfg     sequencer.Config
	genesis block.Genesis
	signer  *signer.Guarded
	db      *leveldb.DB
	exec    *execution.Noop
	signed  func(payload []byte)
	height  chan uint64
	log     *zap.Logger
}

// State resolves what pipeline and store both have.
func (n *node) State() block.State { return n.Snapshot().State }

func (n *node) Public() []byte { return n.signer.Public() }

func (n *node) Sign(ctx context.Context, m block.Message) ([]byte, error) {
	if m.Kind() == block.MessageHeader {
		n.signed(m.Bytes())
	}
	return n.signer.Sign(ctx, m)
}

func (n *node) Signed(ctx context.Context) (block.Memory, error) { return n.signer.Signed(ctx) }

func (n *node) Raise(ctx context.Context, m block.Mark) error { return n.signer.Raise(ctx, m) }

func (n *node) Disown(ctx context.Context, m block.Mark) error { return n.signer.Disown(ctx, m) }

func (n *node) Prepare(_ context.Context, b block.Block) (func() error, error) {
	return func() error {
		select {
		case n.height <- b.Height():
		default:
		}
		return nil
	}, nil
}

func open(tb testing.TB, dir string, log *zap.Logger) *node {
	tb.Helper()
	key := testutil.Key("proposer")
	address := block.Address(key.Public().(ed25519.PublicKey))
	cfg := leveldb.Default()
	cfg.Path = dir
	n := &node{
		cfg: sequencer.Default(), signer: signer.NewGuarded(signer.NewLocal(key), dir+".signer", "real"), db: leveldb.New(cfg), log: log, signed: func([]byte) {}, height: make(chan uint64, 1),
		exec: execution.NewNoop(execution.Default(), log),
		genesis: block.Genesis{
			ChainID: "real", StartTime: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), InitialHeight: 3,
			ProposerAddress: address[:], DAStartHeight: 1, DAEpochForcedInclusion: 50,
		},
	}
	n.cfg.BlockTime = time.Millisecond
	n.cfg.Submit.DABlockTime = 20 * time.Millisecond
	require.NoError(tb, n.signer.Open())
	tb.Cleanup(func() { _ = n.signer.Close() })
	require.NoError(tb, n.db.Open())
	n.Store = chainstore.New(n.db, chainstore.Default(), log)
	require.NoError(tb, n.Store.Open(tb.Context()))
	n.Pipeline = pipeline.New(pipeline.Params{
		Genesis: n.genesis, Store: n.Store, Headers: n.Headers(), Data: n.Data(), Executor: n.exec,
		Ahead: n.signer.Note, Config: pipeline.Default(), Log: log,
	})
	require.NoError(tb, n.Pipeline.Open(tb.Context()))
	return n
}

// Open resolves what pipeline and store both have.
func (n *node) Open(context.Context) error { return nil }

func (n *node) producer(posted sequencer.Posted) *sequencer.Producer {
	return sequencer.NewProducer(sequencer.ProducerParams{
		Config: n.cfg, Genesis: n.genesis, Signer: n, Chain: n, Store: n.Store, Headers: n.Headers(), Data: n.Data(),
		Executor: n.exec, Broadcaster: n, Posted: posted, Log: n.log,
	})
}

func (n *node) submitter(client da.Client) *sequencer.Submitter {
	return sequencer.NewSubmitter(sequencer.SubmitterParams{
		Config: n.cfg, Genesis: n.genesis, Signer: n, Chain: n, Store: n.Store, Headers: n.Headers(), Data: n.Data(),
		Client: client, Namespaces: sequencer.Namespaces{Header: da.Namespace{28: 1}, Data: da.Namespace{28: 2}},
		Log: n.log,
	})
}

// layer is a DA layer that takes everything into its newest block.
type layer struct {
	da.None

	mu    sync.Mutex
	start time.Time
	blobs map[da.Namespace][][]byte
	fresh []block.Inclusion // not read yet

	posted chan struct{}
}

func (l *layer) Head(context.Context) (da.Head, error) {
	return da.Head{Height: 1 + uint64(time.Since(l.start)/(20*time.Millisecond))}, nil
}

func (l *layer) Blobs(context.Context, uint64, ...da.Namespace) ([]da.Blob, error) { return nil, nil }

func (l *layer) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blobs == nil {
		l.blobs = map[da.Namespace][][]byte{}
	}
	l.blobs[ns] = append(l.blobs[ns], blobs...)
	head, err := l.Head(ctx)
	for _, b := range blobs {
		inc := block.Inclusion{DAHeight: head.Height}
		if e, err := block.DecodeHeaderEnvelope(b); ns[28] == 1 && err == nil {
			inc.Height, inc.Kind, inc.Hash = e.Header.Height(), block.KindHeader, e.Header.Digest()
		} else if s, err := block.DecodeSignedData(b); err == nil {
			inc.Height, inc.Kind, inc.Hash = s.Data.Height(), block.KindData, s.Data.Commitment()
		}
		l.fresh = append(l.fresh, inc)
	}
	select {
	case l.posted <- struct{}{}:
	default:
	}
	return head.Height, err
}

// read does the DA worker's part until ctx ends.
func (l *layer) read(ctx context.Context, n *node) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.posted:
		}
		l.mu.Lock()
		fresh := l.fresh
		l.fresh = nil
		l.mu.Unlock()
		if err := n.Include(ctx, fresh, block.DAPositions{}); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func run(tb testing.TB, worker func(context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- worker(ctx) }()
	return func() {
		cancel()
		require.NoError(tb, <-done)
	}
}

// Blocks made here become final through our own submissions.
func TestFinalByOwnSubmissions(t *testing.T) {
	n := open(t, t.TempDir(), zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel)))
	t.Cleanup(func() { require.NoError(t, n.db.Close()) })
	n.cfg.MaxPending = 20
	posted := &layer{start: time.Now(), posted: make(chan struct{}, 1)}
	s := n.submitter(posted)
	stopReader := run(t, func(ctx context.Context) error { return posted.read(ctx, n) })
	stopSubmitter := run(t, s.Run)
	stopProducer := run(t, n.producer(s).Run)
	for i := 0; n.Snapshot().Final < 60; i++ {
		changed := n.Changed()
		if i%5 == 0 {
			require.NoError(t, n.exec.Submit(t.Context(), fmt.Appendf(nil, "k%d=v", i)))
		}
		<-changed
	}
	stopProducer()
	for n.Snapshot().Final < n.State().LastHeight {
		<-n.Changed()
	}
	for {
		progress := s.Progress()
		if h, d := s.Submitted(); min(h, d) >= n.State().LastHeight {
			break
		}
		<-progress
	}
	stopSubmitter()
	stopReader()
	require.Len(t, posted.blobs[da.Namespace{28: 1}], int(n.State().LastHeight-n.genesis.InitialHeight)+1)
	require.NotEmpty(t, posted.blobs[da.Namespace{28: 2}])
	h, d := n.Submitted()
	require.Equal(t, n.State().LastHeight, h)
	require.Equal(t, n.State().LastHeight, d)
	inc, err := n.Inclusion(t.Context(), n.genesis.InitialHeight)
	require.NoError(t, err)
	require.NotZero(t, inc.HeaderDA)
	if b, pending, err := n.Pending(t.Context()); pending || err != nil {
		require.NoError(t, err)
		require.Equal(t, n.Next(), b.Height(), "only the block it was stopped in")
	}
}

const childDir = "TANDEM_SEQUENCER_CHILD"

// TestChild is the process that TestKilledSequencer kills. It writes every
// payload to a file before the signature exists.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child process")
	}
	n := open(t, filepath.Join(dir, "db"), zap.NewNop())
	f, err := os.OpenFile(filepath.Join(dir, "signed"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	n.signed = func(payload []byte) {
		_, err := f.WriteString(hex.EncodeToString(payload) + "\n")
		require.NoError(t, err)
	}
	go func() {
		for i := 0; ; i++ {
			_ = n.exec.Submit(t.Context(), fmt.Appendf(nil, "%d-%d=v", os.Getpid(), i))
			if i%3 == 0 {
				<-n.Changed()
			}
		}
	}()
	go func() {
		for {
			changed := n.Changed()
			if _, err := fmt.Fprintln(os.Stdout, "at", n.State().LastHeight); err != nil {
				return
			}
			<-changed
		}
	}()
	require.NoError(t, n.producer(nil).Run(t.Context()))
}

// Kills the process at many points of making blocks; no height is ever signed
// with two payloads, and the chain goes on.
func TestKilledSequencer(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for life := range 12 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
		child.Env = append(os.Environ(), childDir+"="+dir)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines := bufio.NewScanner(out)
		for seen := 0; seen < 3+life/2 && lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "at ") {
				seen++
			} else {
				t.Log(lines.Text())
			}
		}
		<-time.After(rand.N(4 * time.Millisecond)) // to kill at another point every time
		require.NoError(t, child.Process.Kill())
		require.Error(t, child.Wait())
	}
	raw, err := os.ReadFile(filepath.Join(dir, "signed"))
	require.NoError(t, err)
	payloads := map[uint64]string{}
	for line := range strings.Lines(string(raw)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			continue // cut off by the kill
		}
		h, err := block.DecodeHeader(b)
		require.NoError(t, err)
		if have, ok := payloads[h.Height]; ok {
			require.Equal(t, have, string(b), "height %d was signed twice", h.Height)
		}
		payloads[h.Height] = string(b)
		last = max(last, h.Height)
	}
	n := open(t, filepath.Join(dir, "db"), zap.NewNop())
	t.Cleanup(func() { require.NoError(t, n.db.Close()) })
	require.GreaterOrEqual(t, n.State().LastHeight+1, last, "everything signed was kept")
	require.Greater(t, last, uint64(20))
	t.Logf("%d heights in 12 lives", last)
}

// BenchmarkProduce makes blocks as fast as the disk takes them: one fsync each.
func BenchmarkProduce(b *testing.B) {
	for _, txs := range []int{0, 100} {
		b.Run(fmt.Sprintf("txs=%d", txs), func(b *testing.B) {
			n := open(b, b.TempDir(), zap.NewNop())
			b.Cleanup(func() { require.NoError(b, n.db.Close()) })
			n.cfg.BlockTime = 1
			feed := func(round uint64) {
				for i := range txs {
					_ = n.exec.Submit(b.Context(), fmt.Appendf(nil, "k%d-%d=%0100d", round, i, i))
				}
			}
			feed(0)
			b.ReportAllocs()
			b.ResetTimer()
			stop := run(b, n.producer(nil).Run)
			for {
				changed := n.Changed()
				h := n.State().LastHeight
				if h >= n.genesis.InitialHeight+uint64(b.N)-1 {
					break
				}
				feed(h)
				<-changed
			}
			b.StopTimer()
			stop()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
		})
	}
}
