package exchange

import (
	"crypto/sha256"
	"strconv"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// million is where forged heads point.
const million = 1_000_000

// farHead is a header far above a block that the proposer has signed all the same.
func farHead(c *testutil.Chain, b block.Block) *block.SignedHeader {
	far := b.Header.Header
	far.Height = million
	return testutil.Sign(c.Key, far)
}

// enemy is a hostile peer connected to a node.
func enemy(t *testing.T, to *machine, serve map[stream.Kind]stream.Responder) *stream.Peer {
	t.Helper()
	p, err := stream.NewPeer(t.Context(), stream.Config{ChainID: chainID})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	for k, r := range serve {
		p.Serve(k, r)
	}
	ctx, cancel := contextWithTimeout(t, soon)
	defer cancel()
	require.NoError(t, p.Connect(ctx, *host.InfoFromHost(to.host)))
	return p
}

func bodiesOf[H Item[H]](items []H) [][]byte {
	out := make([][]byte, len(items))
	for i, item := range items {
		out[i] = item.EncodeP2P()
	}
	return out
}

func (n *headerNode) faultsOf(p *stream.Peer) []Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Fault(nil), n.faults[p.ID()]...)
}

// T4: an unsigned or forged header at height 1,000,000, by gossip and as a head, is
// no target, is not stored, and the honest chain is followed.
func TestT4_ForgedHeadIsNoTarget(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	last := bs[4].Header
	for name, far := range map[string]*block.SignedHeader{
		"unsigned": stream.Far(last, million), "forged": stream.Forged(last, million), "self-signed": stream.SelfSigned(last, million, "stranger"),
	} {
		t.Run(name, func(t *testing.T) {
			n := newHeaderNode(t, c, bs)
			p := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Claim(far.EncodeP2P())})
			require.NoError(t, p.Gossip(t.Context(), stream.Headers, far.EncodeP2P()))
			require.NoError(t, p.GossipAs(t.Context(), stream.Headers, testutil.Key("throw-away"), far.EncodeP2P()))
			eventually(t, func() bool { return len(n.faultsOf(p)) >= 3 && n.ex.Stats().Faults["relayed"] == 1 }, "not found out")
			want := FaultInvalid
			if name == "self-signed" {
				want = FaultMismatch
			}
			for _, f := range n.faultsOf(p) { // gossip of its own, gossip of another, its head once or more
				require.Contains(t, []Fault{want, FaultRelayed}, f)
			}
			require.EqualValues(t, 5, n.ex.Status().Target)
			require.Zero(t, n.ex.Status().Parked)
			next := c.Fork().Next().Header
			a := newHeaderNode(t, c, append(append([]block.Block(nil), bs...), block.Block{Header: next}))
			connect(t, n.machine, a.machine)
			n.store.reaches(t, 6)
			require.EqualValues(t, 6, n.ex.Status().Target)
		})
	}
}

// T4: even a head the proposer signed is followed only as far as ranges prove it.
// The claim goes, with a penalty, although the chain moves on all the time.
func TestT4_SignedHeadIsAClaim(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	signed := farHead(c, bs[4])
	n := newHeaderNode(t, c, bs)
	a := newHeaderNode(t, c, bs)
	connect(t, n.machine, a.machine)
	meshed(t, a.ex, 1)
	p := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Claim(signed.EncodeP2P())})
	eventually(t, func() bool { return n.ex.Stats().Faults["unproven"] == 1 }, "not found out: %+v", n.ex.Stats())
	require.Equal(t, []Fault{FaultUnproven}, n.faultsOf(p))
	eventually(t, func() bool { return n.ex.Status().Target == 5 }, "the target stays")
	for range 5 {
		b := c.Next()
		require.NoError(t, a.store.Append(t.Context(), b.Header))
		require.NoError(t, a.ex.Broadcast(t.Context(), b.Header))
	}
	n.store.reaches(t, 10)
	require.NoError(t, n.blames(a.host.ID()))
	// The same by gossip: a relay may have it in good faith, and it is not passed on.
	require.NoError(t, p.Gossip(t.Context(), stream.Headers, signed.EncodeP2P()))
	eventually(t, func() bool { return n.ex.Stats().Gossip["ignore_ahead"] == 1 }, "%v", n.ex.Stats().Gossip)
	eventually(t, func() bool { return n.ex.Status().Target == 10 }, "the target stays")
	require.Equal(t, []Fault{FaultUnproven}, n.faultsOf(p))
}

// A signed head that is near enough to be parked goes too when nobody has what
// leads to it, whether its peer stays or not.
func TestT4_ParkedHeadIsAClaim(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	near := bs[4].Header.Header
	near.Height, near.LastHeaderHash = 20, make([]byte, 32)
	n := newHeaderNode(t, c, bs, func(p *HeaderParams) { p.Config.RetryMax = p.Config.RetryMin })
	a := newHeaderNode(t, c, bs)
	connect(t, n.machine, a.machine)
	p := enemy(t, n.machine, nil)
	require.NoError(t, p.Gossip(t.Context(), stream.Headers, testutil.Sign(c.Key, near).EncodeP2P()))
	eventually(t, func() bool { return n.ex.Stats().Gossip["accept_ahead"] == 1 }, "%v", n.ex.Stats().Gossip)
	p.Close()
	eventually(t, func() bool { s := n.ex.Status(); return s.Target == 5 && s.Parked == 0 }, "the target stays")
	require.NoError(t, n.blames(a.host.ID()))
}

// A claim goes with its peer.
func TestT4_ClaimGoesWithItsPeer(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	signed := farHead(c, bs[4])
	n := newHeaderNode(t, c, bs)
	p := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Heads(
		stream.Claim(signed.EncodeP2P()), stream.Stall(1000, 10, 3*time.Second),
	)})
	eventually(t, func() bool { return n.ex.Status().Target == million }, "no claim")
	p.Close()
	eventually(t, func() bool { return n.ex.Status().Target == 5 }, "the claim stays")
}

// T7: the only peer stalls, lies and fails in turns; nothing is gossiped. What it
// has is fetched in the end.
func TestT7_RangeIsRetriedUntilTheGapIsClosed(t *testing.T) {
	c := testutil.NewChain(chainID)
	hs := testutil.Headers(c.Blocks(130, 0))
	n := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Config.RequestTimeout = 200 * time.Millisecond })
	honest, calls := stream.Honest(1, bodiesOf(hs)...), make(chan int, 1)
	calls <- 0
	p := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Heads(honest, func(r stream.Request, s network.Stream) {
		i := <-calls
		calls <- i + 1
		switch i {
		case 0, 3:
			stream.Stall(1000, 10, time.Second)(r, s)
		case 1:
			stream.Garbage()(r, s)
		case 2:
			_ = s.Reset()
		default:
			honest(r, s)
		}
	})})
	n.store.reaches(t, 130)
	require.Contains(t, n.faultsOf(p), FaultStalled)
	require.Contains(t, n.faultsOf(p), FaultInvalid)
}

// T8: a bad half at a height spoils neither the other half nor the good one that
// comes later; its giver pays.
func TestT8_BadHalfIsDroppedTheOtherKept(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(3, 2)
	n := newDataNode(t, c, bs[:2])
	p := enemy(t, n.machine, nil)
	require.NoError(t, p.Gossip(t.Context(), stream.Headers, bs[2].Header.EncodeP2P()))
	n.store.reaches(t, 3)
	bad := stream.Squat(bs[2].Data, []byte("squatted"))
	require.NoError(t, p.Gossip(t.Context(), stream.Data, bad.EncodeP2P()))
	eventually(t, func() bool { return n.dx.Stats().Gossip["reject_invalid"] == 1 }, "%v", n.dx.Stats().Gossip)
	require.EqualValues(t, 1, n.dx.Stats().Faults["mismatch"])
	require.EqualValues(t, 3, n.store.Height(), "the good half stays")
	require.EqualValues(t, 2, n.data.Height())
	// By range too: the only one that has it lies, then an honest peer comes.
	liar := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Data: stream.Wrong(bad.EncodeP2P())})
	eventually(t, func() bool { return n.dx.Stats().Faults["mismatch"] >= 2 }, "%v", n.dx.Stats())
	a := newDataNode(t, c, bs)
	connect(t, n.machine, a.machine)
	n.data.reaches(t, 3)
	require.Equal(t, bs[2].Data.Digest(), n.data.items[3].Digest())
	require.True(t, liar.Connected(n.host.ID()))
}

// T9: a second header at a height replaces nothing; its hash is not found.
func TestT9_SecondHeaderAtAHeightReplacesNothing(t *testing.T) {
	c := testutil.NewChain(chainID)
	f := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	f.Blocks(4, 0)
	second := f.Next([]byte("second")).Header
	n := newHeaderNode(t, c, bs)
	p := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Claim(second.EncodeP2P())})
	require.NoError(t, p.Gossip(t.Context(), stream.Headers, second.EncodeP2P()))
	eventually(t, func() bool { return n.conflictCount() == 1 }, "no conflict")
	m := newMachine(t)
	connect(t, m, n.machine)
	for name, tc := range map[string]struct {
		hash  []byte
		found bool
	}{"first": {bs[4].Header.Hash(), true}, "second": {second.Hash(), false}} {
		bodies, notFound, ok := raw(t, m, n, request{hash: tc.hash, hasHash: true, amount: 1}.appendFrame(nil))
		require.True(t, ok, name)
		require.Equal(t, !tc.found, notFound, name)
		for _, b := range bodies {
			require.Equal(t, sha256.Sum256(bs[4].Header.EncodeP2P()), sha256.Sum256(b), name)
		}
	}
	require.Empty(t, n.faultsOf(p), "the proposer is to blame, not who tells")
}

// T10: the very first link that is wrong is refused, and every other.
func TestT10_EveryLinkIsChecked(t *testing.T) {
	c := testutil.NewChain(chainID)
	hs := testutil.Headers(c.Blocks(20, 0))
	for at := 1; at < 6; at++ {
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			bad := hs[at].Header
			bad.LastHeaderHash = make([]byte, 32)
			chain := append([]*block.SignedHeader(nil), hs[:at]...)
			chain = append(chain, testutil.Sign(c.Key, bad))
			chain = append(chain, hs[at+1:]...)
			n := newHeaderNode(t, c, nil)
			p := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Honest(1, bodiesOf(chain)...)})
			n.store.reaches(t, uint64(at))
			eventually(t, func() bool { return len(n.faultsOf(p)) > 0 }, "not found out")
			require.Equal(t, FaultMismatch, n.faultsOf(p)[0])
			require.EqualValues(t, at, n.store.Height())
			require.NoError(t, p.Gossip(t.Context(), stream.Headers, chain[at].EncodeP2P()))
			eventually(t, func() bool { return n.ex.Stats().Gossip["ignore_fork"] == 1 }, "%v", n.ex.Stats().Gossip)
			require.EqualValues(t, at, n.store.Height())
		})
	}
}

// Large gap: of many blocks, over peers of which one stalls and one trickles. The
// slow ones are not taken for liars, and the gap is closed.
func TestLargeGap_SlowPeersDoNotHoldItUp(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(3000, 0)
	hs := testutil.Headers(bs)
	bodies := bodiesOf(hs)
	n := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Config.RequestTimeout = 300 * time.Millisecond })
	honest := stream.Honest(1, bodies...)
	silent := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Heads(honest, stream.Stall(1000, 10, time.Second))})
	slow := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: func(r stream.Request, s network.Stream) {
		<-time.After(50 * time.Millisecond)
		honest(r, s)
	}})
	n.store.reaches(t, 3000)
	for _, f := range append(n.faultsOf(silent), n.faultsOf(slow)...) {
		require.Equal(t, FaultStalled, f)
	}
}

// Big blocks: the largest there are pass by gossip and by range, also when a peer's
// share of every bound is that of one item.
func TestBigBlocks_PassTheBoundsOfOnePeer(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := []block.Block{c.Next(make([]byte, 5<<20)), c.Next(make([]byte, 5<<20)), c.Next(make([]byte, 5<<20))}
	tight := func(p *DataParams) {
		p.Config.GossipPeerBytes, p.Config.GossipBytes = leastShare, leastShare
		p.Config.QuarantinePeerBytes, p.Config.QuarantineBytes = leastShare, leastShare
		p.Config.ServeBytes, p.Config.ResponseBytes, p.Config.QueueBytes = 1, 1, 1
		require.NoError(t, p.Config.Validate())
	}
	a, b := newDataNode(t, c, nil, tight), newDataNode(t, c, nil, tight)
	connect(t, a.machine, b.machine)
	meshed(t, a.ex, 1)
	meshed(t, a.dx, 1)
	for _, one := range bs {
		require.NoError(t, a.store.Append(t.Context(), one.Header))
		require.NoError(t, a.data.Append(t.Context(), one.Data))
		require.NoError(t, a.dx.Broadcast(t.Context(), one.Data)) // data first: it waits for its header
		require.NoError(t, a.ex.Broadcast(t.Context(), one.Header))
	}
	b.data.reaches(t, 3)
	d := newDataNode(t, c, nil, tight)
	connect(t, d.machine, b.machine)
	d.data.reaches(t, 3)
	require.GreaterOrEqual(t, d.dx.Stats().Fetched, uint64(2)) // the last may come by gossip
	require.Zero(t, b.dx.Stats().Lies+d.dx.Stats().Lies)
}
