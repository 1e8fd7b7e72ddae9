package exchange

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// What was prepared stays here, and out of the store, until it is published; what
// is never published leaves nothing behind.
func TestPreparedIsSentWhenItIsPublished(t *testing.T) {
	c := testutil.NewChain(chainID)
	a, b := newDataNode(t, c, nil), newDataNode(t, c, nil)
	connect(t, a.machine, b.machine)
	meshed(t, a.ex, 1)
	meshed(t, a.dx, 1)
	bs := c.Blocks(3, 1)
	_, err := a.ex.Prepare(t.Context(), bs[2].Header) // never to be published
	require.NoError(t, err)
	for _, blk := range bs[:2] {
		header, err := a.ex.Prepare(t.Context(), blk.Header)
		require.NoError(t, err)
		data, err := a.dx.Prepare(t.Context(), blk.Data)
		require.NoError(t, err)
		require.Less(t, a.store.Height(), blk.Height())
		require.NoError(t, a.store.Append(t.Context(), blk.Header))
		require.NoError(t, a.data.Append(t.Context(), blk.Data))
		require.NoError(t, header())
		require.NoError(t, data())
	}
	b.store.reaches(t, 2)
	b.data.reaches(t, 2)
	require.EqualValues(t, 2, a.ex.Stats().Broadcasts)
	require.EqualValues(t, 2, a.store.Height())
	require.EqualValues(t, 2, b.store.Height())
}

func TestPreparedIsNotSentOnceStopped(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	m := newMachine(t)
	e := NewHeaders(HeaderParams{Network: m, Store: newStore[*block.SignedHeader](), Genesis: c.Genesis, Config: Default()})
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	publish, err := e.Prepare(t.Context(), bs[0].Header)
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-ended)
	require.ErrorIs(t, publish(), ErrStopped)
	_, err = e.Prepare(t.Context(), bs[0].Header)
	require.Error(t, err)
}
