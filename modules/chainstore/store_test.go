package chainstore

import (
	"bytes"
	"errors"
	"testing"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil"
)

// ledger makes blocks and the states after them.
type ledger struct {
	*testutil.Chain

	genesis block.State
	blocks  []block.Block
	states  []block.State // of the same heights
}

func newLedger(n int, initial uint64) *ledger {
	c := testutil.NewChain("chain")
	c.Genesis.InitialHeight = initial
	l := &ledger{Chain: c, genesis: block.GenesisState(c.Genesis, []byte("root"))}
	l.blocks = c.Blocks(n, 1)
	st := l.genesis
	for _, b := range l.blocks {
		st = st.Next(b.Header, block.ExecResult{StateRoot: []byte{byte(b.Height())}})
		l.states = append(l.states, st)
	}
	return l
}

func TestCommitIsOneWrite(t *testing.T) {
	l := newLedger(4, 1)
	s := opened(t, Default())
	ctx := t.Context()
	_, err := s.State(ctx)
	require.ErrorIs(t, err, header.ErrNotFound)
	require.NoError(t, s.SaveGenesis(ctx, l.Genesis, l.genesis))
	require.NoError(t, s.SavePending(ctx, l.blocks[2], block.QueueChange{}, true))
	require.NoError(t, s.Commit(ctx, block.Batch{
		Blocks: l.blocks[:3], States: l.states[:3], Final: 1, DA: block.DAPositions{Floor: 7, Scanned: 12}, DropPending: true, Sync: true,
		Inclusions: []block.Inclusion{{Height: 1, Kind: block.KindHeader, Hash: l.blocks[0].Header.Digest(), DAHeight: 6}},
	}))
	for range 2 {
		require.Equal(t, uint64(3), s.Headers().Height())
		require.Equal(t, uint64(3), s.Data().Height())
		require.Equal(t, uint64(1), s.Final())
		require.Equal(t, block.DAPositions{Floor: 7, Scanned: 12}, s.DA())
		st, err := s.State(ctx)
		require.NoError(t, err)
		require.Equal(t, l.states[2], st)
		for i, want := range append([]block.State{l.genesis}, l.states[:3]...) {
			got, err := s.StateAt(ctx, uint64(i))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		_, err = s.StateAt(ctx, 4)
		require.ErrorIs(t, err, header.ErrNotFound)
		in, err := s.Inclusion(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, Included{HeaderHash: l.blocks[0].Header.Digest(), HeaderDA: 6}, in)
		_, ok, err := s.Pending(ctx)
		require.NoError(t, err)
		require.False(t, ok)
		s = reopen(t, s)
	}
	require.NoError(t, s.Commit(ctx, block.Batch{}), "nothing to do")
	require.NoError(t, s.Commit(ctx, block.Batch{Blocks: l.blocks[2:], States: l.states[3:]}), "overlaps by one block")
	require.Equal(t, uint64(1), s.Final(), "0 keeps")
	require.Equal(t, uint64(7), s.DA().Floor, "0 keeps")
}

func TestCommitOfAnotherBlockChangesNothing(t *testing.T) {
	one, two := forks(8, 4)
	s := opened(t, Default())
	require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: one[:6]}))
	err := s.Commit(t.Context(), block.Batch{Blocks: two[5:7], Final: 3})
	_, ok := errors.AsType[*block.Conflict[*block.SignedHeader]](err)
	require.True(t, ok, "%v", err)
	// Same header, other data.
	err = s.Commit(t.Context(), block.Batch{Blocks: []block.Block{{Header: one[6].Header, Data: one[6].Data}, {Header: one[7].Header, Data: two[5].Data}}})
	_, ok = errors.AsType[*block.Conflict[*block.Data]](err)
	require.True(t, ok, "%v", err)
	require.Zero(t, s.Final())
	require.Equal(t, uint64(6), s.Headers().Height())
	require.Equal(t, uint64(6), s.Data().Height())
	require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: one[6:]}), "all locks are free")
}

func TestHeadersOnly(t *testing.T) {
	l := newLedger(2, 1)
	s := opened(t, Default())
	require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: []block.Block{{Header: l.blocks[0].Header}}}))
	require.Equal(t, uint64(1), s.Headers().Height())
	require.Zero(t, s.Data().Height())
	require.Error(t, s.Commit(t.Context(), block.Batch{Blocks: []block.Block{{}}}))
}

func TestStatesFollowEachOther(t *testing.T) {
	l := newLedger(3, 1)
	s := opened(t, Default())
	require.NoError(t, s.SaveGenesis(t.Context(), l.Genesis, l.genesis))
	require.ErrorContains(t, s.Commit(t.Context(), block.Batch{States: l.states[1:2]}), "cannot follow")
	require.NoError(t, s.Commit(t.Context(), block.Batch{States: l.states[:2]}))
	require.ErrorContains(t, s.Commit(t.Context(), block.Batch{States: l.states[:1]}), "cannot follow")
}

func TestGenesisIsKept(t *testing.T) {
	l := newLedger(1, 10)
	s := opened(t, Default())
	ctx := t.Context()
	require.NoError(t, s.CheckGenesis(ctx, l.Genesis), "none yet")
	require.ErrorContains(t, s.SaveGenesis(ctx, l.Genesis, block.State{InitialHeight: 3}), "want 9")
	require.NoError(t, s.SaveGenesis(ctx, l.Genesis, l.genesis))
	got, err := s.StateAt(ctx, 9)
	require.NoError(t, err)
	require.Equal(t, l.genesis, got)
	require.NoError(t, s.Commit(ctx, block.Batch{Blocks: l.blocks, States: l.states}))
	s = reopen(t, s)

	require.NoError(t, s.SaveGenesis(ctx, l.Genesis, l.genesis))
	require.NoError(t, s.CheckGenesis(ctx, l.Genesis))
	st, err := s.State(ctx)
	require.NoError(t, err)
	require.Equal(t, l.states[0], st, "not set back")

	other := l.Genesis
	other.ChainID = "other"
	for _, err := range []error{s.SaveGenesis(ctx, other, l.genesis), s.CheckGenesis(ctx, other)} {
		mismatch, ok := errors.AsType[*GenesisMismatch](err)
		require.True(t, ok, "%v", err)
		require.True(t, mismatch.Permanent())
		require.EqualError(t, err, "home holds chain chain (genesis hash "+l.Genesis.Hash().Short()+
			"), genesis file is of other (genesis hash "+other.Hash().Short()+")")
	}
}

func TestFirstInclusionStands(t *testing.T) {
	l := newLedger(3, 1)
	s := opened(t, Default())
	ctx := t.Context()
	require.NoError(t, s.SaveGenesis(ctx, l.Genesis, l.genesis))
	require.Zero(t, s.GenesisDAHeight())
	a, b := block.Sum([]byte("a")), block.Sum([]byte("b"))
	commit := func(ins ...block.Inclusion) {
		t.Helper()
		require.NoError(t, s.Commit(ctx, block.Batch{Inclusions: ins}))
	}
	commit(block.Inclusion{Height: 1, Kind: block.KindHeader, Hash: a, DAHeight: 50},
		block.Inclusion{Height: 1, Kind: block.KindHeader, Hash: b, DAHeight: 51},
		block.Inclusion{Height: 3, Kind: block.KindData, Hash: b, DAHeight: 51})
	require.Equal(t, uint64(50), s.GenesisDAHeight())
	commit(block.Inclusion{Height: 1, Kind: block.KindHeader, Hash: b, DAHeight: 40},
		block.Inclusion{Height: 1, Kind: block.KindData, Hash: b, DAHeight: 49})
	for range 2 {
		in, err := s.Inclusion(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, Included{HeaderHash: a, HeaderDA: 50, Commitment: b, DataDA: 49}, in)
		in, err = s.Inclusion(ctx, 3)
		require.NoError(t, err)
		require.Equal(t, Included{Commitment: b, DataDA: 51}, in)
		for _, height := range []uint64{2, 4} {
			_, err = s.Inclusion(ctx, height)
			require.ErrorIs(t, err, header.ErrNotFound)
		}
		require.Equal(t, uint64(49), s.GenesisDAHeight())
		require.Equal(t, uint64(50), s.HeaderHint(1))
		require.Equal(t, uint64(49), s.DataHint(1))
		require.Zero(t, s.HeaderHint(2)+s.DataHint(2)+s.HeaderHint(3))
		s = reopen(t, s)
	}
	require.Error(t, s.Commit(ctx, block.Batch{Inclusions: []block.Inclusion{{Height: 2, Kind: block.KindData}}}))
}

func TestHintOfEmptyDataIsTheHeaders(t *testing.T) {
	c := testutil.NewChain("chain")
	empty, full := c.Next(), c.Next([]byte("tx"))
	s := opened(t, Default())
	require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: []block.Block{empty, full}, Inclusions: []block.Inclusion{
		{Height: 1, Kind: block.KindHeader, Hash: empty.Header.Digest(), DAHeight: 5},
		{Height: 2, Kind: block.KindHeader, Hash: full.Header.Digest(), DAHeight: 5},
	}}))
	require.Equal(t, uint64(5), s.DataHint(1))
	require.Zero(t, s.DataHint(2))
}

func TestPendingAndMarksAreKept(t *testing.T) {
	l := newLedger(2, 1)
	s := opened(t, Default())
	ctx := t.Context()
	headerOnly := block.Block{Header: l.blocks[1].Header}
	for _, want := range []block.Block{l.blocks[0], headerOnly, l.blocks[1]} {
		require.NoError(t, s.SavePending(ctx, want, block.QueueChange{}, false))
		require.NoError(t, s.SaveSubmitted(ctx, want.Height(), want.Height()-1))
		require.NoError(t, s.PutMeta("k", []byte{byte(want.Height())}))
		s = reopen(t, s)
		got, ok, err := s.Pending(ctx)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want.Header.Encode(), got.Header.Encode())
		require.Equal(t, want.Header.Digest(), got.Header.Digest())
		require.Equal(t, want.Data == nil, got.Data == nil)
		if want.Data != nil {
			require.Equal(t, want.Data.Digest(), got.Data.Digest())
		}
		h, d := s.Submitted()
		require.Equal(t, []uint64{want.Height(), want.Height() - 1}, []uint64{h, d})
		v, ok, err := s.Meta("k")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, []byte{byte(want.Height())}, v)
	}
	_, ok, err := s.Meta("other")
	require.NoError(t, err)
	require.False(t, ok)
	require.Error(t, s.SavePending(ctx, block.Block{}, block.QueueChange{}, false))
}

// The queue and the pending block change as one, and what was written is there
// after a restart.
func TestQueueIsKept(t *testing.T) {
	l := newLedger(1, 1)
	s := opened(t, Default())
	ctx := t.Context()
	queue := func() (uint64, string) {
		s = reopen(t, s) //nolint:contextcheck // the test's own
		first, txs, err := s.Queue(ctx)
		require.NoError(t, err)
		return first, string(bytes.Join(txs, []byte(",")))
	}
	first, txs := queue()
	require.Zero(t, first)
	require.Empty(t, txs)
	require.NoError(t, s.SaveQueue(ctx, block.QueueChange{At: 300, Txs: [][]byte{[]byte("a"), nil, []byte("c")}}))
	first, txs = queue()
	require.Equal(t, uint64(300), first)
	require.Equal(t, "a,,c", txs)
	require.NoError(t, s.SavePending(ctx, l.blocks[0], block.QueueChange{Drop: 300, Keep: 302, At: 303, Txs: [][]byte{[]byte("d")}}, false))
	first, txs = queue()
	require.Equal(t, uint64(302), first)
	require.Equal(t, "c,d", txs)
	_, ok, err := s.Pending(ctx)
	require.NoError(t, err)
	require.True(t, ok)
	require.Error(t, s.SavePending(ctx, block.Block{}, block.QueueChange{Drop: 302, Keep: 304}, false))
	_, txs = queue()
	require.Equal(t, "c,d", txs, "both or neither")

	require.NoError(t, s.SaveQueue(ctx, block.QueueChange{At: 305, Txs: [][]byte{[]byte("f")}}))
	_, _, err = s.Queue(ctx)
	require.ErrorContains(t, err, "position 304 is missing")
	require.NoError(t, s.SaveQueue(ctx, block.QueueChange{Drop: 302, Keep: 306}))
	_, txs = queue()
	require.Empty(t, txs)
	_, _, err = s.Queue(now(t))
	require.NoError(t, err, "nothing to read")
}

func TestStoreThatIsNotOpen(t *testing.T) {
	l := newLedger(1, 1)
	db := leveldb.NewMemory()
	s := New(db, Default(), zap.NewNop())
	require.ErrorIs(t, s.Open(t.Context()), leveldb.ErrClosed)
	require.NoError(t, db.Open())
	require.Error(t, s.Headers().Append(t.Context(), l.blocks[0].Header))
	require.Error(t, s.Commit(t.Context(), block.Batch{Blocks: l.blocks}))
	require.Error(t, s.SaveGenesis(t.Context(), l.Genesis, l.genesis))
	require.Error(t, s.Truncate(t.Context(), 0))
	require.Zero(t, s.Headers().Height()+s.Final()+s.DA().Floor)
	require.NoError(t, db.Close())
}

// broken fails all writes of journals once told to.
type broken struct {
	storage.Storage

	err error
}

func (b *broken) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := b.Storage.Create(fd)
	return &brokenWriter{w, b}, err
}

type brokenWriter struct {
	storage.Writer

	b *broken
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.b.err != nil {
		return 0, w.b.err
	}
	return w.Writer.Write(p)
}

func TestFailedWriteChangesNothing(t *testing.T) {
	l := newLedger(6, 1)
	disk := &broken{Storage: storage.NewMemStorage()}
	cfg := leveldb.Default()
	cfg.WriteBufferBytes = 1 << 20
	db := leveldb.NewOn(disk, cfg)
	require.NoError(t, db.Open())
	s := openOn(t, db, Default())
	ctx := t.Context()
	require.NoError(t, s.SaveGenesis(ctx, l.Genesis, l.genesis))
	require.NoError(t, s.Commit(ctx, block.Batch{Blocks: l.blocks[:3], States: l.states[:3]}))
	check := func() {
		t.Helper()
		require.Equal(t, uint64(3), s.Headers().Height())
		require.Equal(t, uint64(3), s.Data().Height())
		st, err := s.State(ctx)
		require.NoError(t, err)
		require.Equal(t, uint64(3), st.LastHeight)
		require.Zero(t, s.Final())
		_, err = s.Headers().GetByHeight(now(t), 4) //nolint:contextcheck // one that has ended
		require.Error(t, err)
	}
	disk.err = errors.New("no space left on device")
	for range 2 {
		require.ErrorIs(t, s.Headers().Append(ctx, l.blocks[3].Header), disk.err)
		require.ErrorIs(t, s.Data().Append(ctx, l.blocks[3].Data), disk.err)
		require.ErrorIs(t, s.Commit(ctx, block.Batch{Blocks: l.blocks[3:], States: l.states[3:], Final: 2}), disk.err)
		require.ErrorIs(t, s.Truncate(ctx, 1), disk.err)
		require.ErrorIs(t, s.Headers().DeleteRange(ctx, 1, 2), disk.err)
		require.ErrorIs(t, s.SavePending(ctx, l.blocks[0], block.QueueChange{}, true), disk.err)
		require.ErrorIs(t, s.PutMeta("k", nil), disk.err)
		check()
	}
	disk.err = nil
	s = reopen(t, s)
	check()
	require.NoError(t, s.Commit(ctx, block.Batch{Blocks: l.blocks[3:], States: l.states[3:]}))
	require.NoError(t, db.Close())
}

func TestDamagedRecordNamesTheDatabase(t *testing.T) {
	s := opened(t, Default())
	var b leveldb.Batch
	b.Put(keyNamed(nsMark, markHeaders), []byte("nonsense"))
	require.NoError(t, s.db.Write(&b, false))
	err := New(s.db, Default(), zap.NewNop()).Open(t.Context())
	require.ErrorContains(t, err, "database memory")
	require.ErrorContains(t, err, "header heights have 8 bytes, want 32")
}

func TestMissingHeadIsFoundAtOpen(t *testing.T) {
	l := newLedger(2, 1)
	s := opened(t, Default())
	require.NoError(t, s.Headers().Append(t.Context(), testutil.Headers(l.blocks)...))
	var b leveldb.Batch
	key := keyAt(nsHeader, 2)
	b.Delete(key[:])
	require.NoError(t, s.db.Write(&b, false))
	require.ErrorContains(t, New(s.db, Default(), zap.NewNop()).Open(t.Context()), "newest header")
}

func TestConfigNamesTheKey(t *testing.T) {
	require.NoError(t, Default().Validate())
	require.ErrorContains(t, Config{CacheBytes: -1, MaxRangeBytes: 1}.Validate(), "cache_bytes")
	require.ErrorContains(t, Config{}.Validate(), "max_range_bytes")
}

func TestModuleOpensAfterTheDatabase(t *testing.T) {
	l := newLedger(1, 1)
	cfg := leveldb.Default()
	cfg.Path = t.TempDir()
	for want := range uint64(2) {
		var s *Store
		app := fxtest.New(t, fx.Supply(cfg, Default(), zap.NewNop()), fx.Provide(problems.New), Module(), leveldb.Module(), fx.Populate(&s))
		app.RequireStart()
		require.Equal(t, want, s.Headers().Height())
		require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: l.blocks}))
		app.RequireStop()
	}
}
