package exchange

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// A peer that died silently is connected for as long as the transport believes in
// it. It must not be asked while another was heard lately.
func TestSilentPeersAreAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ps peerSet
		ps.init(Default())
		ask := func() peer.ID {
			id, _, ok := ps.pick(1, "", time.Now())
			require.True(t, ok)
			ps.done(id, outcomeDropped, 1, time.Now())
			return id
		}
		ps.add("dead")
		time.Sleep(10 * time.Second)
		require.EqualValues(t, "dead", ask(), "the only one")
		ps.add("new")
		for range 20 {
			require.EqualValues(t, "new", ask())
		}
		time.Sleep(10 * time.Second)
		asked := map[peer.ID]bool{}
		for range 200 {
			asked[ask()] = true
		}
		require.Len(t, asked, 2, "where all are silent all are asked")
		ps.has("dead", 1) // it speaks
		require.EqualValues(t, "dead", ask())
	})
}

// A peer that answers for heads and fails ranges is heard all the time. It is asked
// for ranges when nobody better is there.
func TestFailingPeersAreAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ps peerSet
		ps.init(Default())
		ps.add("failing")
		ps.add("good")
		for range 20 {
			ps.done("failing", outcomeFailed, 1, time.Now())
			time.Sleep(time.Minute) // it may be asked again
			ps.has("failing", 100)
			id, _, ok := ps.pick(1, "good", time.Now())
			require.True(t, ok)
			require.EqualValues(t, "good", id)
			ps.done(id, outcomeDropped, 1, time.Now())
		}
		ps.remove("good")
		id, _, ok := ps.pick(1, "", time.Now())
		require.True(t, ok)
		require.EqualValues(t, "failing", id)
	})
}
