package chainstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil"
)

// Ranges and what is kept in memory are bounded by what items take in memory: an
// empty transaction is two bytes on the disk and many times that once it is read.
func TestRangesCountWhatIsHeld(t *testing.T) {
	db := leveldb.NewMemory()
	require.NoError(t, db.Open())
	c := testutil.NewChain("held")
	var blocks []block.Block
	for range 4 {
		blocks = append(blocks, c.Next(make([][]byte, 10_000)...))
	}
	one := blocks[0].Data.Held()
	require.Greater(t, one, 8*blocks[0].Data.Size())
	cfg := chainstore.Default()
	cfg.MaxRangeBytes, cfg.CacheBytes = 2*one+one/2, 2*one
	for _, fresh := range []bool{true, false} {
		s := chainstore.New(db, cfg, zap.NewNop())
		require.NoError(t, s.Open(t.Context()))
		if fresh {
			require.NoError(t, s.SaveGenesis(t.Context(), c.Genesis, block.GenesisState(c.Genesis, nil)))
			require.NoError(t, s.Headers().Append(t.Context(), testutil.Headers(blocks)...))
			require.NoError(t, s.Data().Append(t.Context(), testutil.DataOf(blocks)...))
		}
		got, err := s.Data().GetRange(t.Context(), 1, 5)
		require.NoError(t, err)
		require.Len(t, got, 2, "written just now: %v", fresh)
	}
}
