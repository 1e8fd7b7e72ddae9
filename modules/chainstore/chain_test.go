package chainstore

import (
	"context"
	"errors"
	"testing"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func TestEmptyChain(t *testing.T) {
	sides(t, bothKinds(Default(), testEmpty, testEmpty))
}

func testEmpty[H header.Header[H]](f fixture[H]) {
	for range 2 {
		f.holds(0, 0)
		_, err := f.chain.GetRange(f.Context(), 1, 2)
		require.ErrorIs(f, err, header.ErrNotFound)
		_, err = f.chain.GetByHeight(f.Context(), 0)
		require.ErrorIs(f, err, header.ErrNotFound)
		_, err = f.chain.Get(f.Context(), []byte("short"))
		require.ErrorIs(f, err, header.ErrNotFound)
		require.NoError(f, f.chain.Append(f.Context()))
		require.NoError(f, f.chain.DeleteRange(f.Context(), 1, 5))
		f.reopen()
	}
}

func TestAppendIsVisibleAtOnceAndStays(t *testing.T) {
	sides(t, bothKinds(Default(), testAppend, testAppend))
}

func testAppend[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(1))
	f.holds(1, 1, 1)
	require.NoError(f, f.add(span2(2, 10)...))
	f.holds(1, 9, span2(1, 10)...)
	f.reopen()
	f.holds(1, 9, span2(1, 10)...)
	require.NoError(f, f.add(10))
	f.holds(1, 10, span2(1, 11)...)
}

func TestFirstItemDefinesTheTail(t *testing.T) {
	sides(t, bothKinds(Default(), testTail, testTail))
}

func testTail[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(20, 22))
	f.holds(20, 20, 20, 22)
	_, err := f.chain.GetByHeight(f.Context(), 19) // without waiting
	require.ErrorIs(f, err, header.ErrNotFound)
	_, err = f.chain.GetRange(f.Context(), 19, 21)
	require.ErrorIs(f, err, header.ErrNotFound)

	require.NoError(f, f.add(18), "a lower tail, with a gap")
	f.holds(20, 20, 18, 20, 22)
	f.reopen()
	require.NoError(f, f.add(19))
	f.holds(18, 20, 18, 19, 20, 22)
	require.NoError(f, f.add(17, 16))
	f.holds(16, 20, 16, 17, 18, 19, 20, 22)
}

func TestGapsDoNotCountUntilFilled(t *testing.T) {
	sides(t, bothKinds(Default(), testGaps, testGaps))
}

func testGaps[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(1, 2))
	require.NoError(f, f.add(7, 5, 4))
	f.holds(1, 2, 1, 2, 4, 5, 7)
	f.reopen()
	f.holds(1, 2, 1, 2, 4, 5, 7)
	require.NoError(f, f.add(3))
	f.holds(1, 5, 1, 2, 3, 4, 5, 7)
	require.NoError(f, f.add(9))
	require.NoError(f, f.add(6, 8))
	f.holds(1, 9, span2(1, 10)...)
	f.reopen()
	f.holds(1, 9, span2(1, 10)...)
}

func TestUnsortedItems(t *testing.T) {
	sides(t, bothKinds(Default(), testUnsorted, testUnsorted))
}

func testUnsorted[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(3, 1, 2, 3, 5))
	f.holds(1, 3, 1, 2, 3, 5)
}

func TestDuplicatesAreSkipped(t *testing.T) {
	sides(t, bothKinds(Default(), testDuplicates, testDuplicates))
}

func testDuplicates[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(1, 2, 3))
	before, err := f.chain.GetByHeight(f.Context(), 2)
	require.NoError(f, err)
	require.NoError(f, f.add(2, 2, 3, 4, 4))
	f.holds(1, 4, 1, 2, 3, 4)
	after, err := f.chain.GetByHeight(f.Context(), 2)
	require.NoError(f, err)
	require.Equal(f, before, after)
	f.reopen()
	require.NoError(f, f.add(1, 2, 3, 4))
	f.holds(1, 4, 1, 2, 3, 4)
}

func TestConflictIsRefusedAsAWhole(t *testing.T) {
	sides(t, bothKinds(Default(), testConflict, testConflict))
}

func testConflict[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(span2(1, 10)...))
	require.NoError(f, f.add(12))
	for range 2 { // from memory and from disk
		for _, at := range []uint64{7, 12} { // in the chain and above the gap
			err := f.chain.Append(f.Context(), f.items[9], f.fork[at-1], f.items[12])
			conflict, ok := errors.AsType[*block.Conflict[H]](err)
			require.True(f, ok, "%v", err)
			require.Equal(f, at, conflict.Height)
			f.equal(f.items[at-1], conflict.Have)
			f.equal(f.fork[at-1], conflict.Got)
		}
		f.holds(1, 9, append(span2(1, 10), 12)...)
		_, err := f.chain.Get(f.Context(), f.fork[6].Hash())
		require.ErrorIs(f, err, header.ErrNotFound)
		f.reopen()
	}
	err := f.chain.Append(f.Context(), f.items[9], f.fork[9])
	_, ok := errors.AsType[*block.Conflict[H]](err)
	require.True(f, ok, "within one call: %v", err)
	f.holds(1, 9, append(span2(1, 10), 12)...)
}

func TestItemsWithoutHeightAreRefused(t *testing.T) {
	s := opened(t, Default())
	require.Error(t, s.Data().Append(t.Context(), block.NewData(nil, nil)))
	require.Error(t, s.Data().Append(t.Context(), nil))
	require.Error(t, s.Headers().Append(t.Context(), block.NewSignedHeader(block.Header{}, nil, block.Signer{})))
	require.Zero(t, s.Headers().Height())
}

func TestEndedContextWritesNothing(t *testing.T) {
	sides(t, bothKinds(Default(), testEnded, testEnded))
}

func testEnded[H header.Header[H]](f fixture[H]) {
	require.ErrorIs(f, f.chain.Append(now(f.T), f.items[0]), context.Canceled)
	f.holds(0, 0)
}

func TestRanges(t *testing.T) {
	sides(t, bothKinds(Default(), testRanges, testRanges))
}

func testRanges[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(span2(5, 31)...))
	require.NoError(f, f.add(33))
	for _, cached := range []bool{true, false} {
		for _, c := range []struct{ from, to, last uint64 }{
			{5, 6, 5}, {5, 31, 30}, {30, 31, 30}, {10, 20, 19}, {28, 100, 30}, {5, ^uint64(0), 30},
		} {
			got, err := f.chain.GetRange(f.Context(), c.from, c.to)
			require.NoError(f, err)
			require.Len(f, got, int(c.last-c.from+1))
			for i, item := range got {
				f.equal(f.items[int(c.from)-1+i], item)
			}
		}
		for _, from := range []uint64{0, 1, 4, 31, 33, 1000} {
			_, err := f.chain.GetRange(f.Context(), from, from+2)
			require.ErrorIs(f, err, header.ErrNotFound, "from %d", from)
		}
		_, err := f.chain.GetRange(f.Context(), 6, 6)
		require.ErrorIs(f, err, header.ErrRangeMixUp)
		got, err := f.chain.GetRangeByHeight(f.Context(), f.items[9], 13)
		require.NoError(f, err)
		require.Len(f, got, 2)
		f.equal(f.items[10], got[0])
		if cached {
			f.reopen()
		}
	}
}

func TestRangeIsBoundedByBytes(t *testing.T) {
	cfg := Default()
	cfg.MaxRangeBytes = 1000
	sides(t, bothKinds(cfg, testRangeBytes, testRangeBytes))
	cfg.MaxRangeBytes = 1
	sides(t, bothKinds(cfg, testRangeBytes, testRangeBytes))
}

func testRangeBytes[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(span2(1, 61)...))
	for range 2 {
		next := uint64(1)
		for next <= 60 {
			got, err := f.chain.GetRange(f.Context(), next, 61)
			require.NoError(f, err)
			require.NotEmpty(f, got)
			bytes := 0
			for _, item := range got {
				f.equal(f.items[next-1], item)
				bytes += f.chain.kind.size(item)
				next++
			}
			require.True(f, len(got) == 1 || bytes <= f.chain.maxBytes)
			if len(got) > 1 && next <= 60 {
				require.Greater(f, bytes+f.chain.kind.size(f.items[next-1]), f.chain.maxBytes, "as much as fits")
			}
		}
		f.reopen()
	}
}

func TestRangeIsBoundedByItems(t *testing.T) {
	s := opened(t, Default())
	const n = maxRangeItems + 10
	require.NoError(t, s.Data().Append(t.Context(), plainData(1, n)...))
	got, err := s.Data().GetRange(t.Context(), 1, n+1)
	require.NoError(t, err)
	require.Len(t, got, maxRangeItems)
}

func TestReaderBehindTheWriterGetsItsObject(t *testing.T) {
	sides(t, bothKinds(Default(), testSameObject, testSameObject))
}

func testSameObject[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(span2(1, 11)...))
	got, err := f.chain.GetRange(f.Context(), 1, 11)
	require.NoError(f, err)
	for i, item := range got {
		require.Same(f, any(f.items[i]), any(item))
	}
	one, err := f.chain.Get(f.Context(), f.items[4].Hash())
	require.NoError(f, err)
	require.Same(f, any(f.items[4]), any(one))
}

func TestNoCache(t *testing.T) {
	cfg := Default()
	cfg.CacheBytes = 0
	sides(t, bothKinds(cfg, testAppend, testAppend))
	sides(t, bothKinds(cfg, testRanges, testRanges))
	sides(t, bothKinds(cfg, testConflict, testConflict))
}

func TestHeadersAreFoundByTheHashOfTheirBytes(t *testing.T) {
	s := opened(t, Default())
	blocks := testutil.NewChain("chain").Blocks(3, 1)
	require.NoError(t, s.Headers().Append(t.Context(), testutil.Headers(blocks)...))
	for range 2 {
		for _, b := range blocks {
			alias := block.Sum(b.Header.Encode())
			got, err := s.Headers().Get(t.Context(), alias[:])
			require.NoError(t, err)
			require.Equal(t, b.Header.Digest(), got.Digest())
		}
		s = reopen(t, s)
	}
}

// The index holds the start of a hash only; another hash with the same start
// must not find the item.
func TestGetComparesTheWholeHash(t *testing.T) {
	sides(t, bothKinds(Default(), testWholeHash, testWholeHash))
}

func testWholeHash[H header.Header[H]](f fixture[H]) {
	require.NoError(f, f.add(1))
	near := append(header.Hash(nil), f.items[0].Hash()...)
	near[31] ^= 1
	_, err := f.chain.Get(f.Context(), near)
	require.ErrorIs(f, err, header.ErrNotFound)
	has, err := f.chain.Has(f.Context(), near)
	require.NoError(f, err)
	require.False(f, has)
}

func TestHeadersFromDiskCountAsChecked(t *testing.T) {
	s := opened(t, Default())
	h := block.NewSignedHeader(block.Header{Height: 1, Time: 1, ChainID: "c"}, []byte("not a signature"), block.Signer{})
	require.Error(t, h.VerifySignature())
	require.NoError(t, s.Headers().Append(t.Context(), h))
	s = reopen(t, s)
	got, err := s.Headers().GetByHeight(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, got.VerifySignature())
}
