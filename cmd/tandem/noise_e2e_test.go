//go:build e2e && linux

package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noiseTime is how long strangers make noise, noiseRate how much, in items per second.
const (
	noiseTime = 15 * time.Second
	noiseRate = 1000
)

// TestNoiseOfStrangers: strangers send 1,000 unproven, forged, replayed, padded and
// re-hinted items a second to a sequencer and a follower of it by P2P alone. The
// sequencer makes its blocks, the follower is no more than two behind, both stay
// ready, and nothing of it is passed on twice.
func TestNoiseOfStrangers(t *testing.T) {
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	follower := w.follower("follower", seq.viaP2P())
	follower.start()
	follower.applies(5)
	seq.send("color", "green")
	p := w.attack("noise", "-listen", "/ip4/"+w.newIP()+"/tcp/0", "-nodes", seq.p2pAddress()+","+follower.p2pAddress(), "-rate", strconv.Itoa(noiseRate))

	from, begun := seq.applied(), time.Now()
	looks, behind, most := 0, 0, uint64(0)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Since(begun) < noiseTime {
		<-tick.C
		head := seq.applied()
		s := follower.status()
		lag := head - min(head, s.Heads.Applied)
		looks++
		most = max(most, lag)
		if lag > 2 || s.Lag.Blocks > 2 {
			behind++
		}
		require.Less(t, s.P2P.Target, head+100, "%s", brief(s))
	}
	took := time.Since(begun)
	made, due := float64(seq.applied()-from), float64(took)/float64(blockTime)
	var sent, thrown, relayed, times int
	_, err := fmt.Sscanf(strings.TrimSpace(p.tail(1)), "sent %d items, thrown out %d times, relayed %d items %d times at most", &sent, &thrown, &relayed, &times)
	require.NoError(t, err, p.tail(1))
	t.Logf("in %s: %.0f of %.0f blocks, lag at most %d, above 2 in %d of %d looks; %d items sent, thrown out %d times, %d relayed, %d times at most",
		took.Round(time.Millisecond), made, due, most, behind, looks, sent, thrown, relayed, times)
	require.GreaterOrEqual(t, made, 0.99*due-1)
	require.Zero(t, behind)
	require.LessOrEqual(t, times, 1)
	require.Greater(t, sent, int(took.Seconds()*noiseRate*9/10), "the noise was none")
	require.Positive(t, thrown)
	agree(t, seq, follower)
}
