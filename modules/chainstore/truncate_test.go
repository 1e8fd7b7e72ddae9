package chainstore

import (
	"context"
	"errors"
	"slices"
	"testing"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// full is a store with n blocks, their states, DA marks and a pending block.
func full(t *testing.T, l *ledger, n int) *Store {
	t.Helper()
	s := opened(t, Default())
	ctx := t.Context()
	require.NoError(t, s.SaveGenesis(ctx, l.Genesis, l.genesis))
	var ins []block.Inclusion
	for _, b := range l.blocks[:n] {
		ins = append(ins, block.Inclusion{Height: b.Height(), Kind: block.KindHeader, Hash: b.Header.Digest(), DAHeight: b.Height() + 100})
	}
	last := l.blocks[n-1].Height()
	require.NoError(t, s.Commit(ctx, block.Batch{
		Blocks: l.blocks[:n], States: l.states[:n], Inclusions: ins, Final: last - 1, DA: block.DAPositions{Floor: 500},
	}))
	require.NoError(t, s.SaveSubmitted(ctx, last, last-2))
	require.NoError(t, s.SavePending(ctx, l.blocks[n], block.QueueChange{}, false))
	return s
}

// records counts what the database holds of each kind.
func records(t *testing.T, s *Store) map[byte]int {
	t.Helper()
	out := make(map[byte]int)
	it := s.db.NewIterator([]byte{space}, []byte{space + 1})
	defer it.Close()
	for it.Next() {
		out[it.Key()[1]]++
	}
	require.NoError(t, it.Err())
	return out
}

// endsAt checks that nothing above height is there, on disk or in memory, and
// everything up to it.
func endsAt(t *testing.T, s *Store, l *ledger, height uint64) {
	t.Helper()
	ctx := t.Context()
	n := int(height)
	kept := map[byte]int{
		nsHeader: n, nsHeaderIndex: 2 * n, nsData: n, nsDataIndex: n, nsState: n + 1, nsInclusion: n,
	}
	got := records(t, s)
	delete(got, nsMark)
	for ns, count := range kept {
		if count == 0 {
			delete(kept, ns)
		}
	}
	require.Equal(t, kept, got)
	require.Equal(t, height, s.Headers().Height())
	require.Equal(t, height, s.Data().Height())
	st, err := s.State(ctx)
	require.NoError(t, err)
	require.Equal(t, append([]block.State{l.genesis}, l.states...)[height], st)
	for _, b := range l.blocks {
		_, headerErr := s.Headers().GetByHeight(now(t), b.Height())
		_, hashErr := s.Headers().Get(ctx, b.Header.Hash())
		_, dataErr := s.Data().GetByHeight(now(t), b.Height())
		_, stateErr := s.StateAt(ctx, b.Height())
		_, inErr := s.Inclusion(ctx, b.Height())
		for _, err := range []error{headerErr, hashErr, dataErr, stateErr, inErr} {
			require.Equal(t, b.Height() > height, err != nil, "height %d: %v", b.Height(), err)
		}
	}
	_, ok, err := s.Pending(ctx)
	require.NoError(t, err)
	require.False(t, ok)
	h, d := s.Submitted()
	require.LessOrEqual(t, max(s.Final(), h, d), height)
	require.Equal(t, uint64(500), s.DA().Floor)
}

func TestTruncateRemovesEverythingAbove(t *testing.T) {
	l := newLedger(12, 1)
	for _, to := range []uint64{9, 5, 1, 0} {
		s := full(t, l, 10)
		require.NoError(t, s.Truncate(t.Context(), to))
		endsAt(t, s, l, to)
		s = reopen(t, s)
		endsAt(t, s, l, to)
		require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: l.blocks[to:10], States: l.states[to:10]}))
		require.Equal(t, uint64(10), s.Headers().Height())
	}
}

func TestTruncateToTheHeadKeepsAll(t *testing.T) {
	l := newLedger(12, 1)
	s := full(t, l, 10)
	before := records(t, s)
	require.NoError(t, s.Truncate(t.Context(), 10))
	require.Equal(t, before, records(t, s))
	_, ok, err := s.Pending(t.Context())
	require.NoError(t, err)
	require.True(t, ok, "the pending block is none of those removed")
}

func TestTruncateBelowTheInitialHeight(t *testing.T) {
	l := newLedger(12, 5)
	s := full(t, l, 10)
	require.ErrorContains(t, s.Truncate(t.Context(), 3), "starts at 5")
	require.ErrorIs(t, s.Truncate(now(t), 7), context.Canceled)
	require.Equal(t, uint64(14), s.Headers().Height())
}

// What lies above a gap goes too, and another fork can take its place.
func TestTruncateMakesRoomForAFork(t *testing.T) {
	one, two := forks(20, 5)
	for _, cached := range []bool{true, false} {
		s := opened(t, Default())
		ctx := t.Context()
		for _, b := range slices.Concat(one[:10], one[15:]) {
			require.NoError(t, s.Headers().Append(ctx, b.Header))
			require.NoError(t, s.Data().Append(ctx, b.Data))
		}
		require.NoError(t, s.Truncate(ctx, 5))
		if !cached {
			s = reopen(t, s)
		}
		require.Equal(t, map[byte]int{nsHeader: 5, nsHeaderIndex: 10, nsData: 5, nsDataIndex: 5}, func() map[byte]int {
			r := records(t, s)
			delete(r, nsMark)
			return r
		}())
		require.NoError(t, s.Headers().Append(ctx, two[7].Header))
		require.Equal(t, uint64(5), s.Headers().Height())
		for _, b := range two[5:] {
			require.NoError(t, s.Headers().Append(ctx, b.Header))
			got, err := s.Headers().GetByHeight(ctx, b.Height())
			require.NoError(t, err)
			require.Equal(t, b.Header.Digest(), got.Digest())
		}
		require.Equal(t, uint64(20), s.Headers().Height())
	}
}

// A truncation that is cut off after any of its batches looks finished, and is
// finished by Open.
func TestTruncateCutOff(t *testing.T) {
	l := newLedger(12, 1)
	s := full(t, l, 10)
	old, to := *s.progress.Load(), uint64(4)
	p, h, d := old.upTo(to), s.Headers().heights().upTo(to), s.Data().heights().upTo(to)
	require.NoError(t, s.lower(old, p, h, d))
	var b leveldb.Batch // some of it was removed already
	for height := uint64(8); height <= 10; height++ {
		key := keyAt(nsHeader, height)
		b.Delete(key[:])
	}
	require.NoError(t, s.db.Write(&b, false))

	s = reopen(t, s)
	got := records(t, s)
	require.Equal(t, 4, got[nsHeader])
	require.Equal(t, 4, got[nsData])
	require.Equal(t, 5, got[nsState])
	require.Equal(t, 4, got[nsInclusion])
	has, err := s.db.Has(keyNamed(nsMark, markSweep))
	require.NoError(t, err)
	require.False(t, has)
	require.Equal(t, uint64(4), s.Headers().Height())
	require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: l.blocks[4:10], States: l.states[4:10]}))
}

func TestDeleteRange(t *testing.T) {
	sides(t, bothKinds(Default(), testDelete, testDelete))
}

func testDelete[H header.Header[H]](f fixture[H]) {
	ctx := f.Context()
	var asked []uint64
	var veto error
	f.chain.OnDelete(func(ctx context.Context, height uint64) error {
		if height == 7 && veto != nil {
			return veto
		}
		_, err := f.chain.GetByHeight(ctx, height)
		asked = append(asked, height)
		return err
	})
	require.NoError(f, f.add(span2(1, 21)...))
	require.NoError(f, f.add(22))
	require.ErrorContains(f, f.chain.DeleteRange(ctx, 5, 10), "gap")
	require.ErrorIs(f, f.chain.DeleteRange(ctx, 5, 5), header.ErrRangeMixUp)
	require.ErrorIs(f, f.chain.DeleteRange(now(f.T), 1, 5), context.Canceled)
	require.Empty(f, asked)

	require.NoError(f, f.chain.DeleteRange(ctx, 1, 4))
	require.Equal(f, []uint64{1, 2, 3}, asked)
	f.holds(4, 20, append(span2(4, 21), 22)...)
	require.NoError(f, f.chain.DeleteRange(ctx, 18, 21), "from the head, and what lies above")
	f.holds(4, 17, span2(4, 18)...)

	veto = errors.New("in use")
	require.ErrorIs(f, f.chain.DeleteRange(ctx, 4, 10), veto)
	f.holds(7, 17, span2(7, 18)...)
	require.ErrorIs(f, f.chain.DeleteRange(ctx, 1, 100), veto)
	f.holds(7, 7, 7)
	veto = nil
	require.NoError(f, f.chain.DeleteRange(ctx, 1, 100))
	f.holds(0, 0)
	r := records(f.T, f.store)
	delete(r, nsMark)
	require.Empty(f, r)

	f.chain = f.pick(f.store)
	require.NoError(f, f.add(30))
	f.holds(30, 30, 30)
	f.reopen()
	f.holds(30, 30, 30)
	require.NoError(f, f.add(27))
	require.NoError(f, f.chain.DeleteRange(ctx, 1, 30), "only below the tail")
	f.holds(30, 30, 30)
}

func TestDeleteRangeGoesInChunks(t *testing.T) {
	const n = 3*removeChunk + 100
	s := opened(t, Default())
	ctx := t.Context()
	require.NoError(t, s.Headers().Append(ctx, plainHeaders(1, n)...))
	require.NoError(t, s.Headers().DeleteRange(ctx, 1, 2*removeChunk))
	first, err := s.Headers().Tail(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(2*removeChunk), first.Height())
	require.NoError(t, s.Headers().DeleteRange(ctx, 2*removeChunk+5, n+1))
	require.Equal(t, uint64(2*removeChunk+4), s.Headers().Height())
	require.Equal(t, 5, records(t, s)[nsHeader])
	require.Equal(t, 10, records(t, s)[nsHeaderIndex])
}

func TestTruncateOfManyGoesInBatches(t *testing.T) {
	const n = sweepRecords
	s := opened(t, Default())
	ctx := t.Context()
	require.NoError(t, s.Headers().Append(ctx, plainHeaders(1, n)...))
	require.NoError(t, s.Truncate(ctx, 3))
	require.Equal(t, map[byte]int{nsHeader: 3, nsHeaderIndex: 6, nsMark: 2}, records(t, s))
}
