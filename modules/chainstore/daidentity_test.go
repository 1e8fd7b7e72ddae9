package chainstore

import (
	"testing"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
)

// TestMoveDAForgetsTheOldLayer: what was read from and posted to another DA layer
// is gone in one step, blocks and the final head stay.
func TestMoveDAForgetsTheOldLayer(t *testing.T) {
	s := full(t, newLedger(6, 1), 5)
	got, err := s.DAIdentity()
	require.NoError(t, err)
	require.Nil(t, got)
	require.NoError(t, s.KeepDAIdentity([]byte("one")))
	require.NoError(t, s.PutMeta("try", []byte{1}))
	require.NoError(t, s.PutMeta("other", []byte{2}))
	require.Equal(t, uint64(500), s.DAFloor())
	require.NoError(t, s.MoveDA([]byte("two"), "try"))
	for range 2 {
		got, err = s.DAIdentity()
		require.NoError(t, err)
		require.Equal(t, "two", string(got))
		require.Equal(t, block.DAPositions{}, s.DA())
		require.Zero(t, s.DAFloor()+s.Included())
		headers, data := s.Submitted()
		require.Zero(t, headers+data)
		_, err = s.Inclusion(t.Context(), 3)
		require.ErrorIs(t, err, header.ErrNotFound)
		require.Zero(t, s.HeaderHint(3))
		_, ok, err := s.Meta("try")
		require.NoError(t, err)
		require.False(t, ok)
		_, ok, err = s.Meta("other")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, uint64(4), s.Final())
		require.Equal(t, uint64(5), s.Headers().Height())
		require.Zero(t, records(t, s)[nsInclusion])
		s = reopen(t, s)
	}
}
