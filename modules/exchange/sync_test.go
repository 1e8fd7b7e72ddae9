package exchange

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func TestHeadersCatchUp(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(1000, 0)
	a := newHeaderNode(t, c, bs)
	b := newHeaderNode(t, c, nil)
	connect(t, b.machine, a.machine)
	b.store.reaches(t, 1000)
	require.Equal(t, testutil.Headers(bs)[999].Digest(), b.store.items[1000].Digest())
	eventually(t, func() bool { s := b.ex.Status(); return s.InFlight == 0 && s.QueuedBytes == 0 }, "not at rest")
	require.LessOrEqual(t, b.ex.Stats().Requests, uint64(1000/64+2), "no range twice")
}

// T7: zero peers at start, then one joins.
func TestZeroPeersThenOneJoins(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(70, 1)
	b := newDataNode(t, c, nil)
	a := newDataNode(t, c, bs)
	require.Zero(t, b.store.Height())
	connect(t, a.machine, b.machine) // dialled from the other side
	b.store.reaches(t, 70)
	b.data.reaches(t, 70)
}

// fakePeer answers range requests as the test says.
func fakePeer(t *testing.T, e interface{ Protocol() protocolID }, handle func(n int, s network.Stream)) *machine {
	t.Helper()
	m := newMachine(t)
	calls := make(chan int, 1)
	calls <- 0
	m.host.SetStreamHandler(e.Protocol(), func(s network.Stream) {
		n := <-calls
		calls <- n + 1
		handle(n, s)
	})
	return m
}

// serveItems answers one request from a list of headers that starts at height 1.
func serveItems(s network.Stream, hs []*block.SignedHeader) {
	defer s.Close()
	var bufs buffers
	b, err := readFrame(bufs.reader(s), nil, maxRequestBytes, nil)
	if err != nil {
		return
	}
	r, err := decodeRequest(b)
	if err != nil {
		return
	}
	from, to := r.origin, r.origin+r.amount
	if r.origin == 0 {
		from, to = uint64(len(hs)), uint64(len(hs))+1
	}
	for i := from; i < to; i++ {
		if i > uint64(len(hs)) {
			if i == from {
				_, _ = s.Write([]byte{2, 0x10, 2})
			}
			return
		}
		_, _ = s.Write(frameOf(hs[i-1].EncodeP2P()))
	}
}

func frameOf(body []byte) []byte {
	head, tail := appendResponse(nil, len(body))
	return append(append(head, body...), tail[:]...)
}

// T7, D4: the only peer resets the first streams, then works; nothing is gossiped.
func TestLonePeerFailsThenWorks(t *testing.T) {
	c := testutil.NewChain(chainID)
	hs := testutil.Headers(c.Blocks(200, 0))
	b := newHeaderNode(t, c, nil)
	m := fakePeer(t, b.ex, func(n int, s network.Stream) {
		if n == 0 || n == 2 || n == 3 { // the head request, then ranges
			_ = s.Reset()
			return
		}
		serveItems(s, hs)
	})
	connect(t, b.machine, m)
	b.store.reaches(t, 200)
}

func TestPeerDiesMidRange(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(500, 0)
	hs := testutil.Headers(bs)
	b := newHeaderNode(t, c, nil)
	var m *machine
	died := make(chan struct{})
	m = fakePeer(t, b.ex, func(n int, s network.Stream) {
		if n < 3 {
			serveItems(s, hs)
			return
		}
		_, _ = s.Write(frameOf(hs[0].EncodeP2P())[:20])
		if n == 3 {
			go func() { _ = m.host.Close(); close(died) }()
		}
	})
	connect(t, b.machine, m)
	<-died
	a := newHeaderNode(t, c, bs)
	connect(t, b.machine, a.machine)
	b.store.reaches(t, 500)
}

// Range lies: the good prefix stays, the liar is blamed, another peer is asked.
func TestRangeLies(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(100, 0)
	hs := testutil.Headers(bs)
	unsigned := block.NewSignedHeader(hs[49].Header, make([]byte, 64), hs[49].Signer)
	other := testutil.NewChain(chainID)
	other.Root = func(uint64) []byte { return []byte("other") }
	forked := testutil.Headers(other.Blocks(100, 0))
	foreign := testutil.Headers(testutil.NewChain("c2").Blocks(100, 0))
	stranger := testutil.NewChain(chainID)
	stranger.Key = testutil.Key("stranger")
	addr := block.Address(stranger.Key.Public().(edPublic))
	stranger.Genesis.ProposerAddress = addr[:]
	strange := testutil.Headers(stranger.Blocks(100, 0))
	for name, bad := range map[string]*block.SignedHeader{
		"bad signature": unsigned, "bad link": forked[49], "foreign": foreign[49], "stranger": strange[49], "wrong height": hs[60],
	} {
		t.Run(name, func(t *testing.T) {
			b := newHeaderNode(t, c, nil)
			lies := append([]*block.SignedHeader(nil), hs...)
			lies[49] = bad
			m := fakePeer(t, b.ex, func(_ int, s network.Stream) { serveItems(s, lies) })
			connect(t, b.machine, m)
			b.store.reaches(t, 49)
			eventually(t, func() bool { return b.blames(m.host.ID()) != nil }, "nobody blamed")
			require.EqualValues(t, 49, b.store.Height())
			a := newHeaderNode(t, c, bs)
			connect(t, b.machine, a.machine)
			b.store.reaches(t, 100)
			require.NoError(t, b.blames(a.host.ID()))
			require.Equal(t, hs[49].Digest(), b.store.items[50].Digest())
		})
	}
}

// A peer on a fork is found out by its item at our head.
func TestForkIsReported(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(10, 0)
	f := c.Fork()
	f.Next([]byte("x"))
	theirs := append(append([]block.Block(nil), bs...), f.Blocks(3, 1)...)
	ours := append(append([]block.Block(nil), bs...), c.Next([]byte("mine")))
	// Both have 11, not the same; theirs goes on to 13.
	a := newHeaderNode(t, c, theirs[:10])
	fork11 := forkAt(c, bs)
	require.NoError(t, a.store.Append(t.Context(), testutil.Headers(fork11)...))
	b := newHeaderNode(t, c, ours)
	connect(t, b.machine, a.machine)
	eventually(t, func() bool { return b.conflictCount() == 1 }, "no conflict")
	require.EqualValues(t, 11, b.store.Height())
	require.Equal(t, fork11[0].Header.Digest(), b.conflicts[0].Got.Digest())
	require.Equal(t, ours[10].Header.Digest(), b.conflicts[0].Have.Digest())
}

// forkAt makes three blocks behind bs that are not the chain's own.
func forkAt(c *testutil.Chain, bs []block.Block) []block.Block {
	f := testutil.NewChain(chainID)
	for range bs {
		f.Next()
	}
	return f.Blocks(3, 1)
}

// Local first: what another writer stored is not requested.
func TestLocalFirst(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(640, 0)
	b := newHeaderNode(t, c, bs[:600])
	a := newHeaderNode(t, c, bs)
	connect(t, b.machine, a.machine)
	b.store.reaches(t, 640)
	require.EqualValues(t, 40, b.ex.Stats().Fetched)
}

func TestStoreFailureIsRetried(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(100, 0)
	b := newHeaderNode(t, c, nil)
	b.store.mu.Lock()
	b.store.fail = errStore
	b.store.mu.Unlock()
	a := newHeaderNode(t, c, bs)
	connect(t, b.machine, a.machine)
	eventually(t, func() bool { return b.ex.Status().LastErr != "" }, "failure is not shown")
	b.store.mu.Lock()
	b.store.fail = nil
	b.store.mu.Unlock()
	b.store.reaches(t, 100)
	eventually(t, func() bool { return b.ex.Status().LastErr == "" }, "failure is still shown")
}

// A head that nobody can prove is dropped in the end, and new ones followed.
func TestUnprovenHeadIsDropped(t *testing.T) {
	c := testutil.NewChain(chainID)
	hs := testutil.Headers(c.Blocks(10, 0))
	b := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Config.RetryMax = p.Config.RetryMin })
	m := fakePeer(t, b.ex, func(n int, s network.Stream) {
		if n == 0 {
			serveItems(s, hs)
			return
		}
		serveItems(s, hs[:4])
	})
	connect(t, b.machine, m)
	b.store.reaches(t, 4)
	eventually(t, func() bool { return b.ex.Status().Target == 4 }, "target stays")
}

func TestPeerEventsAreFollowed(t *testing.T) {
	c := testutil.NewChain(chainID)
	b := newHeaderNode(t, c, nil)
	a := newHeaderNode(t, c, nil)
	connect(t, b.machine, a.machine)
	eventually(t, func() bool { return b.ex.Status().Peers == 1 && a.ex.Status().Peers == 1 }, "no peer")
	require.NoError(t, b.host.Network().ClosePeer(a.host.ID()))
	eventually(t, func() bool { return b.ex.Status().Peers == 0 }, "peer stays")
	var none peer.ID
	_, _, ok := b.ex.peers.pick(1, none, clock())
	require.False(t, ok)
}
