package daworker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/testutil"
)

// What gave way is read again by a restart too, although what is kept lies higher
// on DA.
func TestPendingFloorIsBelowWhatGaveWay(t *testing.T) {
	hs := testutil.Headers(testutil.NewChain("pending").Blocks(9, 0))
	item := func(height, daHeight uint64) *headerItem { return &headerItem{header: hs[height-1], da: daHeight} }
	p := newPending(4 * item(1, 0).size())
	p.addHeader(item(9, 3), true)
	for height := uint64(1); p.lost == 0; height++ {
		p.addHeader(item(height, 10+height), true)
	}
	require.Empty(t, p.headers[9], "the highest give way")
	require.EqualValues(t, 3, p.floor(100))
	p.removeHeader(p.headers[1][0])
	p.removeHeader(p.headers[2][0])
	require.EqualValues(t, 3, p.reclaim())
}

// What gave way is read again when there is room for it, not whenever a little was let
// go: each time costs the whole way back.
func TestReclaimWaitsForRoom(t *testing.T) {
	hs := testutil.Headers(testutil.NewChain("pending").Blocks(30, 0))
	item := func(height uint64) *headerItem { return &headerItem{header: hs[height-1], da: height} }
	p := newPending(20 * item(30).size())
	for height := uint64(1); p.lost == 0; height++ {
		p.addHeader(item(height), true)
	}
	for height := uint64(1); p.bytes > p.budget/2; height++ {
		p.removeHeader(p.headers[height][0])
		if p.bytes > p.budget/2 {
			require.Zero(t, p.reclaim())
		}
	}
	require.NotZero(t, p.reclaim())
	require.Zero(t, p.reclaim(), "once")
}
