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
