package chainstore

import (
	"context"
	"runtime"
	"testing"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/powerdisk"
)

// powered returns a store on a disk that keeps what was synced and nothing else, and
// what brings it back after a power cut.
func powered(t *testing.T, log *zap.Logger) (*powerdisk.Disk, func() *Store) {
	t.Helper()
	disk := powerdisk.New(1, powerdisk.Synced)
	var db *leveldb.DB
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return disk, func() *Store {
		if db != nil {
			disk.Cut()
			_ = db.Close() // without power
			disk.Restart()
		}
		cfg := leveldb.Default()
		cfg.Path = "chain"
		db = leveldb.New(cfg, leveldb.OnDisk(disk))
		require.NoError(t, db.Open())
		s := New(db, Default(), log)
		require.NoError(t, s.Open(t.Context()))
		return s
	}
}

// What a call promises to have written survives a power cut right behind it, and
// Flushed knows what does. What is not promised may be lost.
func TestPromisedWritesSurviveAPowerCut(t *testing.T) {
	l := newLedger(12, 1)
	_, boot := powered(t, zap.NewNop())
	s := boot()
	ctx := t.Context()
	require.NoError(t, s.SaveGenesis(ctx, l.Genesis, l.genesis))
	require.Zero(t, s.Flushed())
	s = boot()
	require.NoError(t, s.CheckGenesis(ctx, l.Genesis))
	_, err := s.State(ctx)
	require.NoError(t, err)

	require.NoError(t, s.Commit(ctx, block.Batch{Blocks: l.blocks[:3], States: l.states[:3], Sync: true}))
	require.Equal(t, uint64(3), s.Flushed())
	s = boot()
	require.Equal(t, uint64(3), s.Headers().Height())
	require.Equal(t, uint64(3), s.marks().state)
	require.Equal(t, uint64(3), s.Flushed())

	require.NoError(t, s.Commit(ctx, block.Batch{Blocks: l.blocks[3:5], States: l.states[3:5]}))
	require.Equal(t, uint64(3), s.Flushed(), "nothing synced it")
	c := testutil.NewChain("evidence")
	fresh, err := s.SaveEvidence(ctx, block.Evidence{
		First:  block.Sighting{Header: c.Fork().Next().Header, Source: block.SourceP2P},
		Second: block.Sighting{Header: c.Fork().Next([]byte("x")).Header, Source: block.SourceP2P},
	})
	require.NoError(t, err)
	require.True(t, fresh)
	require.Equal(t, uint64(5), s.Flushed(), "it was synced along with the evidence")
	s = boot()
	require.Equal(t, 1, s.EvidenceCount())
	require.Equal(t, uint64(5), s.marks().state)

	require.NoError(t, s.SaveRevert(ctx, block.Revert{To: 4, DACursor: 9}))
	s = boot()
	_, under, err := s.Revert(ctx)
	require.NoError(t, err)
	require.True(t, under)
	require.Equal(t, uint64(9), s.marks().floor)

	require.NoError(t, s.Commit(ctx, block.Batch{Blocks: l.blocks[5:], States: l.states[5:]}))
	require.Equal(t, uint64(5), s.Flushed())
	s = boot()
	require.Equal(t, uint64(5), s.Headers().Height(), "this was not promised")
}

// Once the first batch of a truncation is written, a power cut does not bring back
// what it removes, whether or not it is done.
func TestPowerCutInATruncation(t *testing.T) {
	l := newLedger(60, 1)
	core, logs := observer.New(zap.InfoLevel)
	finished := func() int { return logs.FilterMessage("finishing a truncation that was cut short").Len() }
	lowered := false
	for at := 1; ; at++ {
		disk, boot := powered(t, zap.New(core))
		s := boot()
		require.NoError(t, s.SaveGenesis(t.Context(), l.Genesis, l.genesis))
		require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: l.blocks, States: l.states, Sync: true}))
		disk.CutAfter(at)
		err := s.Truncate(t.Context(), 20)
		done := !disk.Off()
		s = boot()
		height := s.Headers().Height()
		if err == nil {
			require.Equal(t, uint64(20), height)
		}
		require.Equal(t, height, s.marks().state)
		require.Equal(t, height, s.Data().Height())
		if lowered {
			require.Equal(t, uint64(20), height, "cut at %d: the first batch did not reach the disk", at)
		}
		lowered = height == 20
		if done {
			break
		}
	}
	require.NotZero(t, finished(), "a truncation that is under way is on the disk before it is done")
}

// hooked calls a function at each write of a journal.
type hooked struct {
	storage.Storage

	hook func()
}

func (h *hooked) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := h.Storage.Create(fd)
	if err == nil && fd.Type == storage.TypeJournal {
		w = &hookedWriter{w, h}
	}
	return w, err
}

type hookedWriter struct {
	storage.Writer

	h *hooked
}

func (w *hookedWriter) Write(p []byte) (int, error) {
	if w.h.hook != nil {
		w.h.hook()
	}
	return w.Writer.Write(p)
}

func onHooked(t *testing.T) (*hooked, *Store) {
	t.Helper()
	h := &hooked{Storage: storage.NewMemStorage()}
	cfg := leveldb.Default()
	cfg.Path = "hooked"
	db := leveldb.NewOn(h, cfg)
	require.NoError(t, db.Open())
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return h, openOn(t, db, Default())
}

// A read that was under way while an item was removed must not put it back into
// memory, from where it would be served once the chain reaches beyond its height.
func TestReadDuringATruncationLeavesNothingBehind(t *testing.T) {
	l := newLedger(12, 1)
	h, s := onHooked(t)
	require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: l.blocks[:10]}))
	stale := l.blocks[9].Header
	h.hook = func() { // as load does that has read the record before it is removed
		s.headers.recent.addRead(s.headers.recent.state(), stale.Height(), stale, stale.Size())
	}
	require.NoError(t, s.Truncate(t.Context(), 8))
	h.hook = nil
	require.NoError(t, s.Headers().Append(t.Context(), l.blocks[11].Header), "above a gap")
	_, err := s.headers.load(stale.Height())
	require.ErrorIs(t, err, header.ErrNotFound)
}

// The state that was made of blocks is not seen before they are.
func TestItemsAreVisibleBeforeTheirState(t *testing.T) {
	l := newLedger(2, 1)
	s := opened(t, Default())
	require.NoError(t, s.SaveGenesis(t.Context(), l.Genesis, l.genesis))
	s.headers.recent.mu.Lock() // holds the commit up where it shows the items
	written := s.db.Written()
	done := make(chan error, 1)
	go func() { done <- s.Commit(t.Context(), block.Batch{Blocks: l.blocks, States: l.states}) }()
	for s.db.Written() == written {
		runtime.Gosched()
	}
	for range 20_000 {
		st, err := s.State(t.Context())
		require.NoError(t, err)
		require.Zero(t, st.LastHeight)
		require.Zero(t, s.marks().state)
		runtime.Gosched()
	}
	s.headers.recent.mu.Unlock()
	require.NoError(t, <-done)
	st, err := s.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(2), st.LastHeight)
}

// What was stored after the first look and before the wait began wakes nobody.
func TestGetByHeightLooksAgainBeforeItWaits(t *testing.T) {
	l := newLedger(3, 1)
	s := opened(t, Default())
	require.NoError(t, s.Headers().Append(t.Context(), testutil.Headers(l.blocks)...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	item, done, err := s.headers.await(ctx, 3)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, uint64(3), item.Height())
}

func TestFlushedIsBounded(t *testing.T) {
	var f flushed
	for h := uint64(1); h <= 3*maxPending; h++ {
		f.add(h, h, 0)
	}
	require.Len(t, f.pending, maxPending)
	require.Zero(t, f.upTo(0))
	require.Equal(t, uint64(500), f.upTo(500))
	require.Equal(t, uint64(maxPending-1), f.upTo(3*maxPending-1), "never too high")
	require.Equal(t, uint64(3*maxPending), f.upTo(3*maxPending))
	require.Empty(t, f.pending)
}
