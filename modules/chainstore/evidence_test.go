package chainstore_test

import (
	"bytes"
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
	require.NoError(t, s.Commit(t.Context(), block.Batch{DA: block.DAPositions{Floor: 7, Scanned: 12}}))
	require.NoError(t, s.SaveRevert(t.Context(), block.Revert{To: 2, DACursor: 5, Header: blocks[2].Header, DAHeight: 8}))
	require.Equal(t, block.DAPositions{Floor: 5, Scanned: 5}, s.DA(), "what was removed was seen below Scanned")
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
	require.Equal(t, uint64(5), s.DA().Floor, "truncation leaves it")
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

// Headers of the largest size that peers may send are kept and read again, and what
// is kept of them is bounded in bytes.
func TestLargeEvidenceIsReadAgain(t *testing.T) {
	db := leveldb.NewMemory()
	require.NoError(t, db.Open())
	s := chainstore.New(db, chainstore.Default(), zap.NewNop())
	require.NoError(t, s.Open(t.Context()))
	c := testutil.NewChain("large")
	sign := func(app []byte, at uint64) block.Sighting {
		h := c.Fork().Next().Header.Header
		h.AppHash, h.Time = app, at
		decoded, err := block.DecodeSignedHeader(testutil.Sign(c.Key, h).EncodeP2P())
		require.NoError(t, err)
		return block.Sighting{Header: decoded, Source: block.SourceP2P}
	}
	small := block.Evidence{First: sign([]byte("root"), 1), Second: sign([]byte("root"), 2)}
	_, err := s.SaveEvidence(t.Context(), small)
	require.NoError(t, err)
	largest := bytes.Repeat([]byte{1}, block.MaxBlobBytes)
	for _, e := range []block.Evidence{
		{First: sign(largest, 1), Second: sign(largest, 2)},
		{First: sign(largest, 6), Second: sign(largest, 7)},
		{Second: sign(largest, 3), Refuted: block.NewRefutation(block.ErrWrongAppHash, largest[1:], "kv")},
	} {
		fresh, err := s.SaveEvidence(t.Context(), e)
		require.NoError(t, err)
		require.True(t, fresh)
		all, err := s.Evidence(t.Context())
		require.NoError(t, err)
		require.Len(t, all, s.EvidenceCount())
	}
	fresh, err := s.SaveEvidence(t.Context(), block.Evidence{First: sign(largest, 4), Second: sign(largest, 5)})
	require.NoError(t, err)
	require.False(t, fresh, "there is no room for it")
	require.Equal(t, 4, s.EvidenceCount())
	require.NoError(t, s.DropEvidence(t.Context(), small))
	require.NoError(t, s.DropEvidence(t.Context(), small))
	require.Equal(t, 3, s.EvidenceCount())
	require.NoError(t, s.Open(t.Context()))
	require.Equal(t, 3, s.EvidenceCount())
}
