package daworker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// storeSink persists in the store itself, as the pipeline does.
type storeSink struct{ *chainstore.Store }

func (s storeSink) Include(ctx context.Context, incs []block.Inclusion, read block.DAPositions) error {
	return s.Commit(ctx, block.Batch{Inclusions: incs, DA: read})
}

// The worker on the node's own store, stopped and started in the middle.
func TestOnTheRealStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() {
			time.Sleep(time.Minute) // the database's pools drain in their own time
			synctest.Wait()
		})
		db := leveldb.NewMemory()
		require.NoError(t, db.Open())
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		store := chainstore.New(db, chainstore.Default(), zap.NewNop())
		require.NoError(t, store.Open(t.Context()))
		e := newEnv()
		require.NoError(t, store.SaveGenesis(t.Context(), e.chain.Genesis, block.GenesisState(e.chain.Genesis, nil)))
		e.params.Headers, e.params.Data = store.Headers(), store.Data()
		e.params.Sink, e.params.DA = storeSink{store}, store.DA
		bs := e.chain.Blocks(600, 1)
		for i, b := range bs {
			e.da.put(uint64(i+1), e.header(b))
			e.da.put(uint64(i+1+i%5), e.body(b))
		}
		e.da.latency = func(uint64) time.Duration { return 10 * time.Millisecond }
		_, stop := e.run(t)
		time.Sleep(35 * time.Millisecond)
		require.NoError(t, stop())
		require.NotZero(t, store.Headers().Height())
		require.Less(t, store.Data().Height(), uint64(600))
		_, stop = e.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, uint64(600), store.Headers().Height())
		require.Equal(t, uint64(600), store.Data().Height())
		require.Equal(t, block.DAPositions{Floor: 605, Scanned: 605}, store.DA())
		for i, b := range bs {
			in, err := store.Inclusion(t.Context(), b.Height())
			require.NoError(t, err)
			require.Equal(t, b.Header.Digest(), in.HeaderHash)
			require.Equal(t, uint64(i+1), in.HeaderDA)
			require.Equal(t, b.Data.Commitment(), in.Commitment)
			require.Equal(t, uint64(i+1+i%5), in.DataDA)
		}
		require.NoError(t, stop())
	})
}
