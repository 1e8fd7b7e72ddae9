package chainstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil"
)

func TestGetByHeightWaits(t *testing.T) {
	blocks := testutil.NewChain("chain").Blocks(8, 1)
	synctest.Test(t, func(t *testing.T) {
		db := leveldb.NewMemory()
		require.NoError(t, db.Open())
		defer func() {
			require.NoError(t, db.Close())
			time.Sleep(time.Minute) // goleveldb's buffer pool lingers half of that
		}()
		s := New(db, Default(), zap.NewNop())
		require.NoError(t, s.Open(t.Context()))
		chain := s.Headers()

		type answer struct {
			item *block.SignedHeader
			err  error
		}
		ask := func(ctx context.Context, height uint64) chan answer {
			got := make(chan answer, 1)
			go func() {
				item, err := chain.GetByHeight(ctx, height)
				got <- answer{item, err}
			}()
			synctest.Wait()
			return got
		}
		first, third, again := ask(t.Context(), 1), ask(t.Context(), 3), ask(t.Context(), 3)
		sixth := ask(t.Context(), 6)
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := ask(brief, 7)
		require.Equal(t, 4, s.Stats().Waiting)
		require.NoError(t, chain.Append(t.Context(), blocks[0].Header))
		require.Same(t, blocks[0].Header, (<-first).item)
		synctest.Wait()
		require.Empty(t, third)

		require.NoError(t, chain.Append(t.Context(), blocks[2].Header), "above a gap")
		require.Same(t, blocks[2].Header, (<-third).item)
		require.Same(t, blocks[2].Header, (<-again).item)
		require.Equal(t, uint64(1), chain.Height())
		require.Same(t, blocks[2].Header, (<-ask(t.Context(), 3)).item, "without waiting")

		second := ask(t.Context(), 2)
		require.NoError(t, s.Commit(t.Context(), block.Batch{Blocks: blocks[1:2]}))
		require.Same(t, blocks[1].Header, (<-second).item)

		a := <-late
		require.ErrorIs(t, a.err, context.DeadlineExceeded)
		require.NotErrorIs(t, a.err, header.ErrNotFound)
		require.Empty(t, sixth)
		require.NoError(t, chain.Append(t.Context(), testutil.Headers(blocks[3:6])...))
		require.Same(t, blocks[5].Header, (<-sixth).item)
		require.Zero(t, s.Stats().Waiting)
	})
}

// What Append has returned for is seen by everybody, whatever the time.
func TestAppendMeansVisible(t *testing.T) {
	sides(t, bothKinds(Default(), testVisible, testVisible))
}

func testVisible[H header.Header[H]](f fixture[H]) {
	const appends = 1000
	items := make([]H, appends)
	for i := range items {
		items[i] = plain[H](uint64(i) + 1)
	}
	events := make(chan uint64, appends)
	done := make(chan error, 3)
	for range 2 {
		go func() {
			for height := range events {
				if got := f.chain.Height(); got < height {
					done <- errors.New("event before visibility")
					return
				}
				item, err := f.chain.GetByHeight(now(f.T), height)
				if err != nil || item.Height() != height {
					done <- errors.Join(errors.New("event before item"), err)
					return
				}
			}
			done <- nil
		}()
	}
	go func() { // a reader that follows the head
		for f.chain.Height() < appends {
			from := max(1, f.chain.Height())
			if from == 1 {
				continue
			}
			got, err := f.chain.GetRange(f.Context(), from-1, from+1)
			if err != nil || len(got) != 2 {
				done <- errors.Join(errors.New("head is not readable"), err)
				return
			}
		}
		done <- nil
	}()
	for i, item := range items {
		require.NoError(f, f.chain.Append(f.Context(), item))
		events <- uint64(i) + 1
	}
	close(events)
	for range 3 {
		require.NoError(f, <-done)
	}
}
