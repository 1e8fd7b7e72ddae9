package chainstore

import (
	"context"
	"testing"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil"
)

// opened returns an open store in memory.
func opened(t *testing.T, cfg Config) *Store {
	t.Helper()
	db := leveldb.NewMemory()
	require.NoError(t, db.Open())
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return openOn(t, db, cfg)
}

// openOn returns a new store on an open database.
func openOn(t *testing.T, db *leveldb.DB, cfg Config) *Store {
	t.Helper()
	s := New(db, cfg, zap.NewNop())
	require.NoError(t, s.Open(t.Context()))
	return s
}

// reopen closes and opens the database below s and returns a new store on it.
func reopen(t *testing.T, s *Store) *Store {
	t.Helper()
	require.NoError(t, s.db.Close())
	require.NoError(t, s.db.Open())
	return openOn(t, s.db, s.cfg)
}

// now is a context that ends at once: reads answer what is there.
func now(t interface{ Context() context.Context }) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// sides runs a test for the chain of headers and for the chain of data.
func sides(t *testing.T, test sideTest) {
	t.Helper()
	t.Run("headers", func(t *testing.T) { test.headers(t) })
	t.Run("data", func(t *testing.T) { test.data(t) })
}

type sideTest struct{ headers, data func(t *testing.T) }

// fixture is a store, one of its chains, and items for it.
type fixture[H header.Header[H]] struct {
	*testing.T

	store *Store
	chain *Chain[H]
	pick  func(*Store) *Chain[H]
	items []H // of the heights 1, 2, …
	fork  []H // others of the same heights, from 6 on
}

func bothKinds(cfg Config, headers func(f fixture[*block.SignedHeader]), data func(f fixture[*block.Data])) sideTest {
	blocks, forked := forks(60, 5)
	return sideTest{
		headers: func(t *testing.T) {
			t.Helper()
			s := opened(t, cfg)
			headers(fixture[*block.SignedHeader]{t, s, s.Headers(), (*Store).Headers, testutil.Headers(blocks), testutil.Headers(forked)})
		},
		data: func(t *testing.T) {
			t.Helper()
			s := opened(t, cfg)
			data(fixture[*block.Data]{t, s, s.Data(), (*Store).Data, testutil.DataOf(blocks), testutil.DataOf(forked)})
		},
	}
}

// forks returns two chains of n blocks that share the first few.
func forks(n, shared int) (one, two []block.Block) {
	c := testutil.NewChain("chain")
	one = c.Blocks(shared, 2)
	other := c.Fork()
	two = append(two, one...)
	for range n - shared {
		one = append(one, c.Next([]byte("this")))
		two = append(two, other.Next([]byte("that")))
	}
	return one, two
}

func (f *fixture[H]) reopen() {
	f.store = reopen(f.T, f.store)
	f.chain = f.pick(f.store)
}

// add appends the items of some heights.
func (f *fixture[H]) add(heights ...uint64) error {
	items := make([]H, len(heights))
	for i, h := range heights {
		items[i] = f.items[h-1]
	}
	return f.chain.Append(f.Context(), items...)
}

func span2(from, to uint64) []uint64 {
	out := make([]uint64, 0, to-from)
	for h := from; h < to; h++ {
		out = append(out, h)
	}
	return out
}

// equal compares items by hash.
func (f *fixture[H]) equal(want, got H) {
	f.Helper()
	require.Equal(f, want.Height(), got.Height())
	require.Equal(f, want.Hash(), got.Hash())
}

// holds checks that exactly these heights can be read, and that of these those
// from tail to head count.
func (f *fixture[H]) holds(tail, head uint64, heights ...uint64) {
	f.Helper()
	stored := make(map[uint64]bool)
	for _, h := range heights {
		stored[h] = true
	}
	require.Equal(f, head, f.chain.Height())
	if head == 0 {
		_, err := f.chain.Head(f.Context())
		require.ErrorIs(f, err, header.ErrEmptyStore)
		_, err = f.chain.Tail(f.Context())
		require.ErrorIs(f, err, header.ErrEmptyStore)
	} else {
		first, err := f.chain.Tail(f.Context())
		require.NoError(f, err)
		f.equal(f.items[tail-1], first)
		last, err := f.chain.Head(f.Context())
		require.NoError(f, err)
		f.equal(f.items[head-1], last)
	}
	ctx := now(f.T)
	for _, item := range f.items {
		h := item.Height()
		got, err := f.chain.GetByHeight(ctx, h)
		byHash, hashErr := f.chain.Get(ctx, item.Hash())
		has, hasErr := f.chain.Has(ctx, item.Hash())
		require.NoError(f, hasErr)
		require.Equal(f, stored[h], has)
		require.Equal(f, head != 0 && h >= tail && h <= head, f.chain.HasAt(ctx, h), "HasAt %d", h)
		if !stored[h] {
			require.Error(f, err, "height %d", h)
			require.ErrorIs(f, hashErr, header.ErrNotFound)
			continue
		}
		require.NoError(f, err)
		require.NoError(f, hashErr)
		f.equal(item, got)
		f.equal(item, byHash)
	}
}
