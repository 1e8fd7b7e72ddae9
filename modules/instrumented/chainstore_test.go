package instrumented_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
)

// The node's own store, one header at a time: at every event that is received
// the store shows the item in every way there is to look for it.
func TestInvariant4_AppendMeansVisible_InTheChainStore(t *testing.T) {
	const top = 500
	db := leveldb.NewMemory()
	require.NoError(t, db.Open())
	defer func() { require.NoError(t, db.Close()) }()
	chain := chainstore.New(db, chainstore.Default(), zap.NewNop())
	require.NoError(t, chain.Open(t.Context()))

	n := notifier.New()
	store := instrumented.Wrap[*block.SignedHeader](chain.Headers(), n, notifier.Header)
	sub := n.Subscribe(notifier.Types(notifier.Header))
	items := headers(top)
	appended := make(chan error, 1)
	go func() {
		for _, item := range items {
			if err := store.Append(t.Context(), item); err != nil {
				appended <- err
				return
			}
		}
		appended <- nil
	}()
	for at := uint64(0); at < top; {
		e := notifiertest.Next(t, sub)
		at = store.Height()
		require.GreaterOrEqual(t, at, e.Height)
		require.True(t, store.HasAt(t.Context(), e.Height))
		byHeight, err := store.GetByHeight(t.Context(), e.Height)
		require.NoError(t, err)
		require.Equal(t, block.Hash(e.Hash), byHeight.Digest())
		byHash, err := store.Get(t.Context(), e.Hash[:])
		require.NoError(t, err)
		require.Equal(t, e.Height, byHash.Height())
		got, err := store.GetRange(t.Context(), e.Height, at+1)
		require.NoError(t, err)
		require.Equal(t, e.Height, got[0].Height())
	}
	require.NoError(t, <-appended)
}
