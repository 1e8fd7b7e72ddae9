package exchange

import (
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// Whoever listens hears of every DA hint that came with a good header, from
// ranges and gossip, and from whom. Headers without a hint say nothing.
func TestHintsArePassedOn(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(150, 0)
	a := newHeaderNode(t, c, bs, func(p *HeaderParams) {
		p.Hint = func(h uint64) uint64 {
			if h == 7 {
				return 0
			}
			return 1000 + h
		}
	})
	var mu sync.Mutex
	heard := map[uint64]uint64{}
	b := newHeaderNode(t, c, nil, func(p *HeaderParams) {
		p.Hinted = func(h *block.SignedHeader, from peer.ID) {
			mu.Lock()
			defer mu.Unlock()
			if from == a.host.ID() {
				heard[h.Height()] = h.DAHint
			}
		}
	})
	connect(t, b.machine, a.machine)
	b.store.reaches(t, 150)
	mu.Lock()
	require.Len(t, heard, 149)
	for height, at := range heard {
		require.Equal(t, 1000+height, at)
	}
	require.NotContains(t, heard, uint64(7))
	mu.Unlock()
	meshed(t, a.ex, 1)
	next := c.Next().Header.WithDAHint(77)
	require.NoError(t, a.store.Append(t.Context(), next))
	require.NoError(t, a.ex.Broadcast(t.Context(), next))
	b.store.reaches(t, 151)
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return heard[151] == 77 || heard[151] == 1151
	}, "the hint of the last header was not heard")
}
