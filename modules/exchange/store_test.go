package exchange

import (
	"testing"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil"
)

func openStore(tb testing.TB, cfg chainstore.Config) *chainstore.Store {
	tb.Helper()
	db := leveldb.NewMemory()
	require.NoError(tb, db.Open())
	tb.Cleanup(func() { _ = db.Close() })
	s := chainstore.New(db, cfg, zap.NewNop())
	require.NoError(tb, s.Open(tb.Context()))
	return s
}

// storeNode is a node on the real store.
func storeNode(tb testing.TB, c *testutil.Chain, s *chainstore.Store) *machine {
	tb.Helper()
	m := newMachine(tb)
	cfg := Default()
	quick(&cfg)
	wake := newStore[*block.SignedHeader]() // its changes stand for the notifier's events
	hx := NewHeaders(HeaderParams{
		Network: m, Store: hooked{s.Headers(), wake}, Genesis: c.Genesis, Proposers: proposers(c.Genesis.ProposerAddress), Now: clock,
		Config: cfg, Hint: s.HeaderHint,
	})
	dx := NewData(DataParams{
		Network: m, Store: s.Data(), Headers: s.Headers(), HeaderEvents: wake.events(tb), Genesis: c.Genesis, Now: clock,
		Config: cfg, Hint: s.DataHint,
	})
	start(tb, hx)
	start(tb, dx)
	return m
}

// hooked tells another store of what is appended.
type hooked struct {
	*chainstore.Chain[*block.SignedHeader]

	wake *memStore[*block.SignedHeader]
}

func (h hooked) Append(ctx ctxT, items ...*block.SignedHeader) error {
	if err := h.Chain.Append(ctx, items...); err != nil {
		return err
	}
	return h.wake.Append(ctx, items...)
}

func await[H header.Header[H]](tb testing.TB, s header.Store[H], height uint64) H {
	tb.Helper()
	ctx, cancel := contextWithTimeout(tb, soon)
	defer cancel()
	item, err := s.GetByHeight(ctx, height)
	require.NoError(tb, err)
	return item
}

// Two nodes on the real store, whose ranges are cut by bytes.
func TestRealStore(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := append(c.Blocks(300, 3), c.Blocks(300, 0)...)
	cfg := chainstore.Default()
	cfg.MaxRangeBytes = 8 << 10
	src, dst := openStore(t, cfg), openStore(t, cfg)
	require.NoError(t, src.Headers().Append(t.Context(), testutil.Headers(bs)...))
	require.NoError(t, src.Data().Append(t.Context(), testutil.DataOf(bs)...))
	connect(t, storeNode(t, c, dst), storeNode(t, c, src))
	require.Equal(t, bs[599].Header.Digest(), await(t, header.Store[*block.SignedHeader](dst.Headers()), 600).Digest())
	require.Equal(t, bs[599].Data.Digest(), await(t, header.Store[*block.Data](dst.Data()), 600).Digest())
}

// Chunks another writer has overtaken are let go of.
func TestOvertakenChunks(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(20, 0)
	hs, ds := newStore[*block.SignedHeader](testutil.Headers(bs)...), newStore[*block.Data](testutil.DataOf(bs[:2])...)
	s := newPuller(NewData(DataParams{Store: ds, Headers: hs, Genesis: c.Genesis, Now: clock, Config: Default()}))
	require.NoError(t, s.cover(t.Context(), 3))
	require.Len(t, s.chunks, 1)
	require.NoError(t, ds.Append(t.Context(), testutil.DataOf(bs[2:])...))
	require.NoError(t, s.collect(t.Context()))
	require.Empty(t, s.chunks)
	// And after the store was cut back the plan starts over.
	s.chunks = []*chunk[*block.Data]{{span: span{from: 30, to: 40, synth: true}, done: true}}
	require.NoError(t, s.collect(t.Context()))
	require.Empty(t, s.chunks)
}

func BenchmarkCatchUpStore(b *testing.B) {
	const n = 10_000
	c := testutil.NewChain(chainID)
	bs := c.Blocks(n, 0)
	src := openStore(b, chainstore.Default())
	require.NoError(b, src.Headers().Append(b.Context(), testutil.Headers(bs)...))
	require.NoError(b, src.Data().Append(b.Context(), testutil.DataOf(bs)...))
	from := storeNode(b, c, src)
	b.ReportAllocs()
	var wall, used time.Duration
	for b.Loop() {
		dst := openStore(b, chainstore.Default())
		m := storeNode(b, c, dst)
		busy, at := cpu(b), time.Now()
		connect(b, m, from)
		await(b, header.Store[*block.Data](dst.Data()), n)
		wall += time.Since(at)
		used += cpu(b) - busy
	}
	b.ReportMetric(float64(b.N)*n/wall.Seconds(), "blocks/s")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N)/n, "cpu-µs/block")
}
