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

// pair returns a proof at the next height of c.
func pair(c *testutil.Chain, tx string) block.Evidence {
	return block.Evidence{
		First:  block.Sighting{Header: c.Fork().Next().Header, Source: block.SourceP2P},
		Second: block.Sighting{Header: c.Fork().Next([]byte(tx)).Header, Source: block.SourceDA, DAHeight: 9},
	}
}

func TestEvidenceStays(t *testing.T) {
	db := leveldb.NewMemory()
	require.NoError(t, db.Open())
	open := func() *chainstore.Store {
		s := chainstore.New(db, chainstore.Default(), zap.NewNop())
		require.NoError(t, s.Open(t.Context()))
		return s
	}
	s := open()
	c := testutil.NewChain("evidence")
	require.NoError(t, s.SaveGenesis(t.Context(), c.Genesis, block.GenesisState(c.Genesis, nil)))
	blocks := c.Blocks(3, 1)
	require.NoError(t, s.Headers().Append(t.Context(), testutil.Headers(blocks)...))
	e := pair(c, "a")
	for i := range 3 {
		fresh, err := s.SaveEvidence(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, i == 0, fresh)
		e.First, e.Second = e.Second, e.First
	}
	require.NoError(t, s.SaveRevert(t.Context(), block.Revert{To: 2, DACursor: 5, Header: blocks[2].Header, DAHeight: 8}))
	require.Equal(t, uint64(5), s.DACursor())
	require.NoError(t, s.Truncate(t.Context(), 1))

	s = open()
	require.Equal(t, 1, s.EvidenceCount())
	all, err := s.Evidence(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, all[0].Verify(c.Genesis))
	require.Equal(t, uint64(9), all[0].First.DAHeight+all[0].Second.DAHeight)
	r, ok, err := s.Revert(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, uint64(2), r.To)
	require.Equal(t, uint64(5), s.DACursor(), "truncation leaves it")
	require.NoError(t, s.Commit(t.Context(), block.Batch{DropRevert: true}))
	_, ok, err = s.Revert(t.Context())
	require.NoError(t, err)
	require.False(t, ok)

	_, err = s.SaveEvidence(t.Context(), block.Evidence{})
	require.ErrorIs(t, err, block.ErrNoPair)
	const most = 1024
	for i := range most + 10 {
		fresh, err := s.SaveEvidence(t.Context(), pair(c, string(rune('b'+i))))
		require.NoError(t, err)
		require.Equal(t, i < most-1, fresh, "the first ones stand")
	}
	require.Equal(t, most, s.EvidenceCount())
}
