package block_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// Heights and times that sums overflow with are refused before anything is computed
// from them, whoever signed them.
func TestTorture_NumbersAtTheirEndAreRefused(t *testing.T) {
	c := testutil.NewChain("c1")
	b := c.Next([]byte("tx"))
	for _, n := range []uint64{block.MaxHeight + 1, math.MaxUint64 - 1, math.MaxUint64} {
		for name, change := range map[string]func(height, time *uint64){
			"height": func(height, _ *uint64) { *height = n },
			"time":   func(_, time *uint64) { *time = n },
		} {
			h := b.Header.Header
			change(&h.Height, &h.Time)
			signed := testutil.Sign(c.Key, h)
			_, err := block.DecodeSignedHeader(signed.EncodeP2P())
			require.Error(t, err, "%s %d", name, n)
			_, err = block.DecodeHeaderEnvelope(signed.Encode())
			require.Error(t, err, "%s %d", name, n)
			m := *b.Data.Metadata
			change(&m.Height, &m.Time)
			_, err = block.DecodeData(block.NewData(&m, b.Data.Txs).EncodeP2P())
			require.Error(t, err, "%s %d", name, n)
		}
	}
	h := b.Header.Header
	h.Height = block.MaxHeight
	_, err := block.DecodeSignedHeader(testutil.Sign(c.Key, h).EncodeP2P())
	require.NoError(t, err)
	g := c.Genesis
	g.InitialHeight = math.MaxUint64
	require.ErrorContains(t, g.Validate(), "initial_height")
}
