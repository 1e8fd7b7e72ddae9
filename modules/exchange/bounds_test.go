package exchange

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

func TestQuarantineRules(t *testing.T) {
	const mb = 1 << 20
	var q quarantine
	q.init(4*mb, 3*mb)
	admit := func(p peer.ID, height uint64, size int) (context.Context, func()) {
		stay, leave, ok := q.admit(t.Context(), p, height, size)
		if !ok {
			return nil, nil
		}
		return stay, leave
	}
	gone := func(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errGaveWay) }
	a1, leave := admit("a", 10, mb)
	a2, _ := admit("a", 12, mb)
	a3, _ := admit("a", 11, mb)
	require.EqualValues(t, 3*mb, q.size())
	none, _ := admit("a", 13, mb)
	require.Nil(t, none, "above its share and farther than all it has")
	a4, _ := admit("a", 9, mb)
	require.NotNil(t, a4)
	require.True(t, gone(a2), "its own farthest gives way")
	b1, _ := admit("b", 50, mb)
	require.NotNil(t, b1)
	require.EqualValues(t, 4*mb, q.size())
	b2, _ := admit("b", 51, mb)
	require.NotNil(t, b2, "who holds less pushes out who holds most")
	require.True(t, gone(a3))
	require.False(t, gone(a1))
	require.False(t, gone(b1))
	require.EqualValues(t, 4*mb, q.size())
	b3, _ := admit("b", 52, mb)
	require.Nil(t, b3, "equal shares: its own would give way, and this is the farthest")
	leave()
	leave()
	require.EqualValues(t, 3*mb, q.size(), "once")
	small, _ := admit("c", 1, 1)
	require.NotNil(t, small)
	require.EqualValues(t, 3*mb+patientBytes, q.size(), "waiting has a price")
	require.EqualValues(t, 2, q.evicted.Load())
	huge, _ := admit("d", 1, 4*mb)
	require.Nil(t, huge)
	require.NotContains(t, q.wards, peer.ID("d"))
}

func TestBudgetShares(t *testing.T) {
	var b budget
	b.init(10, 6)
	require.True(t, b.take("a", 6))
	require.False(t, b.take("a", 1), "its share")
	require.True(t, b.take("b", 4))
	require.False(t, b.take("b", 1), "all of it")
	b.give("a", 6)
	require.True(t, b.take("b", 2))
	require.EqualValues(t, 6, b.size())
	require.NotContains(t, b.peers, peer.ID("a"))
}

func TestMeterMakesPeersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		m.init(1000, 2000)
		wait := func(p peer.ID) time.Duration {
			begun := time.Now()
			require.True(t, m.await(t.Context(), p))
			return time.Since(begun)
		}
		m.pay("a", 1)
		require.Zero(t, wait("a"))
		m.pay("a", 1<<30)
		require.Equal(t, 2*time.Second, wait("a").Round(time.Second), "no debt is larger than a burst")
		require.Zero(t, wait("b"))
		m.pay("a", 1<<30)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, m.await(ctx, "a"))
		for i := range 10 * meterPeers {
			m.of(peer.ID(rune(i)), time.Now())
		}
		require.LessOrEqual(t, len(m.peers), meterPeers+2, "who owes nothing is forgotten")
		require.Contains(t, m.peers, peer.ID("a"))
	})
}

func TestClaimsAreBounded(t *testing.T) {
	var c claims
	c.init()
	require.True(t, c.raise("a", claim{height: 5, own: true}))
	require.False(t, c.raise("a", claim{height: 4, own: true}))
	require.False(t, c.raise("b", claim{height: 5}))
	require.EqualValues(t, 5, c.top(0))
	_, ok := c.withdraw("a", 6)
	require.False(t, ok)
	got, ok := c.withdraw("a", 5)
	require.True(t, ok)
	require.Equal(t, claim{height: 5, own: true}, got)
	for i := range 2 * maxClaims {
		c.raise(peer.ID(rune(i+1000)), claim{height: 7})
	}
	require.LessOrEqual(t, len(c.by), maxClaims)
	require.True(t, c.raise("z", claim{height: 8}))
	require.EqualValues(t, 8, c.top(0))
	require.True(t, c.raise("y", claim{height: 1000, vague: true}))
	require.EqualValues(t, 20, c.top(20), "what is not proven is followed by steps")
	require.EqualValues(t, 8, c.vouched(), "and is no target")
	for i := range 2 * maxClaims {
		c.raise(peer.ID(rune(i+1000)), claim{height: uint64(i), vague: true})
	}
	require.LessOrEqual(t, len(c.vague), maxClaims)
	require.EqualValues(t, 8, c.vouched(), "and takes nobody's place")
}

// A vague claim ends when the store has reached it, or did not move for a while; to
// repeat it gives it no more time.
func TestVagueClaimsExpire(t *testing.T) {
	var c claims
	c.init()
	begun := clock()
	raise := func(p peer.ID, height, head uint64, at time.Duration) {
		c.raise(p, claim{height: height, vague: true, own: true, since: begun.Add(at), head: head})
	}
	expire := func(head uint64, at time.Duration) (late []peer.ID, next time.Duration) {
		gone, due := c.expire(head, begun.Add(at), 10)
		for p := range gone {
			late = append(late, p)
		}
		return late, due.Sub(begun)
	}
	raise("a", 1000, 5, 0)
	raise("b", 6, 5, 0)
	raise("a", 2000, 5, 8)
	late, next := expire(6, 9)
	require.Empty(t, late)
	require.EqualValues(t, 10, next)
	require.NotContains(t, c.vague, peer.ID("b"), "reached")
	late, next = expire(6, 10)
	require.Empty(t, late, "the store moved")
	require.EqualValues(t, 20, next)
	late, _ = expire(6, 20)
	require.Equal(t, []peer.ID{"a"}, late)
	require.Empty(t, c.vague)
}

// peaks follows what an exchange holds until the test ends.
type peaks struct {
	mu  sync.Mutex
	max Status
}

func watch(t *testing.T, status func() Status) *peaks {
	t.Helper()
	p := &peaks{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			s := status()
			p.mu.Lock()
			p.max.WaitingBytes = max(p.max.WaitingBytes, s.WaitingBytes)
			p.max.CheckedBytes = max(p.max.CheckedBytes, s.CheckedBytes)
			p.max.QueuedBytes = max(p.max.QueuedBytes, s.QueuedBytes)
			p.max.ServingBytes = max(p.max.ServingBytes, s.ServingBytes)
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
	return p
}

func (p *peaks) get() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.max
}

// fills requires that a flood filled a bound, within a factor of 1.5, and stayed
// under it: the figures of docs/limits.md are what can be held, no more and no less.
func fills(t *testing.T, part string, peak, bound int64) {
	t.Helper()
	t.Logf("%s: %d KiB at most, bound %d KiB, ratio %.2f", part, peak>>10, bound>>10, float64(bound)/float64(max(peak, 1)))
	require.LessOrEqual(t, peak, bound, part)
	require.LessOrEqual(t, bound, peak*3/2, "%s: the flood did not fill its bound", part)
}

// Spam: peers fill the quarantine with data of heights to come. What is held stays
// under the bounds, and an honest peer's data still waits for its header and is
// stored.
func TestSpam_FloodOfDataStaysInBounds(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(2, 1)
	n := newDataNode(t, c, bs, func(p *DataParams) {
		p.Config.QuarantineBytes, p.Config.QuarantinePeerBytes = 2*block.MaxFrameBytes, block.MaxFrameBytes
		p.Config.GossipBytes, p.Config.GossipPeerBytes = 2*block.MaxFrameBytes, block.MaxFrameBytes
		p.Config.DataWait = 5 * time.Second
	})
	held := watch(t, n.dx.Status)
	good := c.Next([]byte("good"))
	f := c.Fork()
	for range 3 {
		p := enemy(t, n.machine, nil)
		for range 24 {
			junk := f.Next(make([]byte, 1<<20))
			require.NoError(t, p.Gossip(t.Context(), stream.Data, junk.Data.EncodeP2P()))
		}
	}
	eventually(t, func() bool { return n.dx.Stats().GaveWay >= 20 }, "%+v", n.dx.Stats())
	honest := enemy(t, n.machine, nil)
	require.NoError(t, honest.Gossip(t.Context(), stream.Data, good.Data.EncodeP2P()))
	eventually(t, func() bool { return n.dx.quarantine.holds(honest.ID()) }, "the honest one has no room")
	require.NoError(t, honest.Gossip(t.Context(), stream.Headers, good.Header.EncodeP2P()))
	n.data.reaches(t, 3)
	fills(t, "quarantine", held.get().WaitingBytes, 2*block.MaxFrameBytes)
	require.LessOrEqual(t, held.get().CheckedBytes, int64(2*block.MaxFrameBytes))
}

func (q *quarantine) holds(p peer.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.wards[p] != nil
}

// Spam: peers announce large answers, send most of them and stop. What is being
// read stays under the bound, and an honest peer's answers still come.
func TestSpam_HalfAnswersStayInBounds(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(600, 0)
	hs := testutil.Headers(bs)
	const bound = 32 << 20
	n := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Config.QueueBytes = bound })
	held := watch(t, n.ex.Status)
	head := stream.Honest(1, bodiesOf(hs)...)
	for range 8 {
		enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Heads(head, stream.Stall(10<<20, 9<<20, 4*time.Second))})
	}
	eventually(t, func() bool { return held.get().QueuedBytes > bound*9/10 }, "no flood: %+v", held.get())
	a := newHeaderNode(t, c, bs)
	connect(t, n.machine, a.machine)
	n.store.reaches(t, 600)
	fills(t, "queue", held.get().QueuedBytes, bound+block.MaxFrameBytes)
	require.NoError(t, n.blames(a.host.ID()))
}

// Spam: peers ask for as much as they can and read nothing. What is held for them
// stays under the bound, and others are served.
func TestSpam_SlowReadersStayInBounds(t *testing.T) {
	c := testutil.NewChain(chainID)
	var bs []block.Block
	for range 64 {
		bs = append(bs, c.Next(make([]byte, 100<<10)))
	}
	const bound, item = 4 << 20, 101 << 10
	n := newDataNode(t, c, bs, func(p *DataParams) {
		p.Config.ServeBytes, p.Config.Serve, p.Config.ServePeer = bound, 12, 4
		p.Config.ServeTimeout = 3 * time.Second // then the slow ones are let go
	})
	held := watch(t, n.dx.Status)
	for range 3 {
		p := enemy(t, n.machine, nil)
		require.Equal(t, 4, p.Slow(t.Context(), n.host.ID(), stream.Data, 4))
	}
	eventually(t, func() bool { return held.get().ServingBytes > bound/2 }, "no flood")
	b := newDataNode(t, c, nil, func(p *DataParams) { p.Config.RequestTimeout = soon })
	connect(t, b.machine, n.machine)
	b.data.reaches(t, 64)
	fills(t, "serving", held.get().ServingBytes, bound+12*item)
}
