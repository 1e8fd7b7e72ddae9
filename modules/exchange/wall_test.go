package exchange

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// light judges as a node does that executes nothing: one proposer is known, any other
// may become one.
type light []byte

func (l light) Judge(_ uint64, address []byte) block.Standing {
	if bytes.Equal(l, address) {
		return block.Expected
	}
	return block.Unproven
}

func (light) Changed() <-chan struct{} { return make(chan struct{}) }

// selfSigned returns headers like hs that a stranger signed.
func selfSigned(hs []*block.SignedHeader) []*block.SignedHeader {
	stranger := testutil.Key("stranger")
	address := block.NewSigner(stranger.Public().(ed25519.PublicKey)).Address
	out := make([]*block.SignedHeader, len(hs))
	for i, h := range hs {
		own := h.Header
		own.ProposerAddress = address
		out[i] = testutil.Sign(stranger, own)
	}
	return out
}

// A peer without a key of the chain answers ranges with headers that it signed
// itself. It holds up nobody but itself, and is blamed once the true ones are known.
func TestTorture_SelfSignedRangesHoldUpNobody(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(3000, 0)
	hs := testutil.Headers(bs)
	forged := selfSigned(hs)
	judge := func(p *HeaderParams) {
		p.Proposers, p.Config = light(c.Genesis.ProposerAddress), Default()
		p.Config.RetryMax = 10 * time.Minute
	}
	n := newHeaderNode(t, c, bs[:1], judge)
	m := fakePeer(t, n.ex, func(i int, s network.Stream) {
		if i == 0 {
			serveItems(s, hs) // its head is true
			return
		}
		serveItems(s, forged)
	})
	connect(t, n.machine, m)
	eventually(t, func() bool { return n.ex.Stats().Requests > 2 }, "the stranger is not asked")
	a := newHeaderNode(t, c, bs, judge)
	connect(t, n.machine, a.machine)
	n.store.reaches(t, 3000)
	eventually(t, func() bool { return n.blames(m.host.ID()) != nil }, "the stranger is not blamed")
	require.NoError(t, n.blames(a.host.ID()))
}

// What one peer sent cannot be judged now. The peer is not asked again at once, but
// after a while, though nothing else happens; nor when the state says more.
func TestWallsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testutil.NewChain(chainID)
		h := testutil.Headers(c.Blocks(5, 0))[4]
		s := newState(func(uint64) []byte { return []byte("other") })
		var w walls
		none, at := w.opens(s, time.Now())
		require.Nil(t, none)
		require.Zero(t, at)
		begun := time.Now()
		w.set("a", h, begun.Add(10*time.Second))
		require.Zero(t, w.held("a", 4, s, time.Now()), "below")
		require.Zero(t, w.held("b", 5, s, time.Now()), "another peer")
		require.Equal(t, begun.Add(10*time.Second), w.held("a", 6, s, time.Now()))
		w.set("a", testutil.Headers(c.Blocks(1, 0))[0], begun.Add(time.Minute))
		require.NotZero(t, w.held("a", 5, s, time.Now()), "the lower one stays")
		changed, at := w.opens(s, time.Now())
		require.Equal(t, begun.Add(10*time.Second), at)
		time.Sleep(10 * time.Second)
		require.Zero(t, w.held("a", 5, s, time.Now()), "by time")
		_, at = w.opens(s, time.Now())
		require.Zero(t, at)
		w.set("a", h, time.Now().Add(time.Hour))
		s.apply(4)
		<-changed
		require.Zero(t, w.held("a", 5, s, time.Now()), "by the state")
		require.Empty(t, w.passed(5))
		require.Len(t, w.passed(6), 1)
		require.Empty(t, w.passed(6), "once")
		for i := range 2 * maxWalls {
			w.set(testPeer(i), h, time.Now())
		}
		require.LessOrEqual(t, len(w.by), maxWalls)
	})
}

// The only peer there is sent what could not be judged, and is asked again for it
// without anything else happening.
func TestWallOfTheOnlyPeerGivesWayByTime(t *testing.T) {
	c := testutil.NewChain(chainID)
	hs := testutil.Headers(c.Blocks(100, 0))
	forged := selfSigned(hs)
	n := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Proposers = light(c.Genesis.ProposerAddress) })
	m := fakePeer(t, n.ex, func(i int, s network.Stream) {
		if i == 1 || i == 2 {
			serveItems(s, forged)
			return
		}
		serveItems(s, hs)
	})
	connect(t, n.machine, m)
	n.store.reaches(t, 100)
}

// A peer that keeps only the newest blocks has not got what a new node needs. It
// refutes nothing of what it said, and the node knows how far the chain is.
func TestTorture_PrunedPeerIsNotBlamed(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(300, 0)
	n := newHeaderNode(t, c, nil)
	pruned := newHeaderNode(t, c, bs[200:])
	connect(t, n.machine, pruned.machine)
	eventually(t, func() bool { return n.ex.Stats().NotFound > 20 }, "not asked often")
	require.Empty(t, n.ex.Stats().Faults)
	require.EqualValues(t, 300, n.ex.Status().Target)
	full := newHeaderNode(t, c, bs[:250])
	connect(t, n.machine, full.machine)
	n.store.reaches(t, 300)
	require.Empty(t, n.ex.Stats().Faults)
}

// A peer that trickles what comes next is relieved by one that is known to be fast,
// well before its time is over; the only one there is never is.
func TestTricklingPeerIsRelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testutil.NewChain(chainID)
		e := NewHeaders(HeaderParams{Store: newStore[*block.SignedHeader](), Genesis: c.Genesis, Now: clock, Config: Default()})
		s := newPuller(e)
		e.peers.add("slow")
		one := s.fly(1, "slow")
		look := func() (cut bool) {
			began := time.Now()
			for at := s.relieve(time.Now()); !at.IsZero() && time.Since(began) < time.Minute; at = s.relieve(time.Now()) {
				time.Sleep(time.Until(at))
				one.got.Add(30 << 10)
			}
			return one.relieved
		}
		require.False(t, look(), "nobody else is there")
		e.peers.add("fast")
		require.False(t, look(), "nobody knows how fast")
		e.peers.sped("fast", 1<<20, time.Second)
		begun := time.Now()
		require.True(t, look())
		require.LessOrEqual(t, time.Since(begun), relieveAfter)
		require.Equal(t, outcomeFailed, outcomeOf(one, answer[*block.SignedHeader]{}))
		one.got.Store(0)
		one.begun, one.relieved = time.Now(), false
		begun = time.Now()
		require.True(t, look())
		require.Equal(t, 2*relieveAfter, time.Since(begun), "twice as long the next time")
		one.begun, one.relieved = time.Now(), false
		one.got.Store(100 << 20)
		require.False(t, look(), "it is fast enough")
	})
}
