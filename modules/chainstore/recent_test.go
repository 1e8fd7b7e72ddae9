package chainstore

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The cache may forget, but never returns what was not put there last, never
// holds more than it may, and knows how much it holds.
func TestRecentIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := recent[int]{max: rapid.IntRange(0, 20).Draw(t, "items") * (recentOverhead + 100)}
		last := make(map[uint64]int)
		high := uint64(1)
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			step := rapid.SampledFrom([]uint64{1, 1, 1, 2, 50, recentSlots - 1, recentSlots, 3 * recentSlots}).Draw(t, "step")
			height := high + step
			if rapid.IntRange(0, 4).Draw(t, "back") == 0 {
				height = high - min(high-1, step)
			}
			switch rapid.IntRange(0, 20).Draw(t, "do") {
			case 0:
				epoch := r.state()
				r.reset()
				r.addRead(epoch, height, -1, 0)
				clear(last)
			case 1:
				r.forgetBelow(height)
				for h := range last {
					if h < height {
						delete(last, h)
					}
				}
			default:
				r.add(height, i, rapid.IntRange(0, 300).Draw(t, "size"))
				last[height] = i
				high = max(high, height)
			}
			if i%8 != 0 {
				continue
			}
			held := 0
			for _, s := range r.slots {
				held += s.size
				if s.height == 0 {
					continue
				}
				item, ok := r.get(s.height)
				require.True(t, ok)
				require.Equal(t, last[s.height], item)
				require.Contains(t, last, s.height)
			}
			require.Equal(t, held, r.held())
			require.LessOrEqual(t, held, r.max)
		}
	})
}

func TestRecentKeepsTheNewest(t *testing.T) {
	r := recent[int]{max: 10 * (recentOverhead + 100)}
	for height := uint64(1); height <= 3*recentSlots; height++ {
		r.add(height, int(height), 100)
	}
	for height := uint64(1); height <= 3*recentSlots; height++ {
		_, ok := r.get(height)
		require.Equal(t, height > 3*recentSlots-10, ok)
	}
	r.add(3*recentSlots+1, 0, 1<<20)
	_, ok := r.get(3*recentSlots + 1)
	require.False(t, ok, "larger than the cache")
}
