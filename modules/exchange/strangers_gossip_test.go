package exchange

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// unreached is where claims of strangers point.
const unreached = 1 << 60

// executing is a node that has applied what bs has.
func executing(t *testing.T, c *testutil.Chain, bs []block.Block, opts ...tune) *headerNode {
	t.Helper()
	s := newState(func(uint64) []byte { return c.Genesis.ProposerAddress })
	s.apply(uint64(len(bs)))
	return newHeaderNode(t, c, bs, append([]tune{func(p *HeaderParams) {
		p.Proposers = s
		p.Config.RequestTimeout = time.Second // a vague claim has twice that
	}}, opts...)...)
}

// A header far ahead, of a proposer nobody has named, is no reason to wait: neither
// for block production nor for readiness. Whoever made it pays when nothing comes of
// it; whoever relayed it does not.
func TestUnprovenGossipGatesNothing(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	for name, height := range map[string]uint64{"far": unreached, "next": 6, "farther": 1 << 62} {
		t.Run(name, func(t *testing.T) {
			n := executing(t, c, bs)
			maker, relay := enemy(t, n.machine, nil), enemy(t, n.machine, nil)
			for i := range 3 {
				far := stream.SelfSigned(bs[4].Header, height-uint64(i%2), "stranger")
				if far.Height() <= 5 {
					continue
				}
				require.NoError(t, maker.Gossip(t.Context(), stream.Headers, far.EncodeP2P()))
				require.NoError(t, relay.GossipAs(t.Context(), stream.Headers, testutil.Key("throw-away"), far.EncodeP2P()))
			}
			if height == 6 { // its proposer is known not to be the one
				eventually(t, func() bool { return len(n.faultsOf(maker)) > 0 }, "not found out")
				require.Equal(t, FaultMismatch, n.faultsOf(maker)[0])
				return
			}
			eventually(t, func() bool { return n.ex.Stats().Gossip["ignore_unproven"] >= 4 }, "%v", n.ex.Stats().Gossip)
			for range 20 {
				require.Zero(t, n.ex.Vouched())
				require.EqualValues(t, 5, n.ex.Status().Target)
				<-time.After(time.Millisecond)
			}
			eventually(t, func() bool { return len(n.faultsOf(maker)) > 0 }, "its maker does not pay")
			require.Equal(t, FaultUnproven, n.faultsOf(maker)[0])
			require.Empty(t, n.faultsOf(relay))
			require.LessOrEqual(t, n.ex.target(), uint64(6))
		})
	}
}

// The same told as a head, by a peer that serves everything else well.
func TestUnprovenHeadGatesNothing(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	far := stream.SelfSigned(bs[4].Header, unreached, "stranger")
	n, a := executing(t, c, bs), newHeaderNode(t, c, bs)
	connect(t, n.machine, a.machine)
	meshed(t, a.ex, 1)
	honest := stream.Honest(1, bodiesOf(testutil.Headers(bs))...)
	p := enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Headers: stream.Heads(stream.Claim(far.EncodeP2P()), func(r stream.Request, s network.Stream) {
		<-time.After(100 * time.Millisecond) // what is to come may have come
		honest(r, s)
	})})
	eventually(t, func() bool { return n.ex.claims.top(10) == 10 }, "no claim")
	for range 20 {
		b := c.Next()
		require.NoError(t, a.store.Append(t.Context(), b.Header))
		require.NoError(t, a.ex.Broadcast(t.Context(), b.Header))
		n.store.reaches(t, b.Height())
		s := n.ex.Status()
		require.LessOrEqual(t, s.Target, b.Height())
		require.LessOrEqual(t, n.ex.Vouched(), b.Height())
	}
	eventually(t, func() bool { return len(n.faultsOf(p)) > 0 }, "it does not pay")
	require.Contains(t, n.faultsOf(p), FaultUnproven)
	require.NoError(t, n.blames(a.host.ID()))
}

// Whoever told of a head pays as well when the other peers said, before its time is
// up, that there is no next block.
func TestUnprovenHeadThatNobodyHasCosts(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	n, a := executing(t, c, bs, func(p *HeaderParams) { p.Config.RequestTimeout = 10 * soon }), newHeaderNode(t, c, bs)
	connect(t, n.machine, a.machine)
	p := enemy(t, n.machine, nil)
	require.True(t, n.ex.claim(p.ID(), claim{height: unreached, own: true, vague: true}))
	n.ex.poke()
	eventually(t, func() bool { return len(n.faultsOf(p)) > 0 }, "it does not pay")
	require.Contains(t, n.faultsOf(p), FaultUnproven)
	require.NoError(t, n.blames(a.host.ID()))
}

// A peer's vague claim takes nothing away from what it told of before.
func TestVagueClaimHidesNoOther(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	n := executing(t, c, bs)
	p := enemy(t, n.machine, nil)
	require.True(t, n.ex.claim(p.ID(), claim{height: unreached, vague: true}))
	require.True(t, n.ex.claim(p.ID(), claim{height: 8}))
	require.EqualValues(t, 8, n.ex.Vouched())
	require.EqualValues(t, 8, n.ex.Status().Target)
}

// What is noted of a peer after it has gone is forgotten all the same.
func TestClaimDoesNotOutliveItsPeer(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	n := newHeaderNode(t, c, bs)
	p := enemy(t, n.machine, nil)
	n.ex.mu.Lock() // an append takes long
	require.NoError(t, p.Gossip(t.Context(), stream.Headers, farHead(c, bs[4]).EncodeP2P()))
	eventually(t, func() bool { return n.ex.gossip.size() > 0 }, "not under check")
	p.Close()
	eventually(t, func() bool { return len(n.host.Network().Peers()) == 0 }, "stays")
	n.ex.mu.Unlock()
	eventually(t, func() bool { return n.ex.gossip.size() == 0 }, "under check")
	eventually(t, func() bool { return n.ex.Status().Target == 5 && n.ex.Vouched() == 0 }, "the claim stays")
}

// relay is a node between an enemy and a neighbour that hears what it passes on.
func relay(t *testing.T, n *dataNode, k stream.Kind) (from *stream.Peer, heard func() [][]byte) {
	t.Helper()
	neighbour := enemy(t, n.machine, nil)
	sub, err := neighbour.Subscribe(k)
	require.NoError(t, err)
	var mu sync.Mutex
	var all [][]byte
	var done sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); done.Wait() })
	done.Go(func() {
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if m.ReceivedFrom == n.host.ID() {
				mu.Lock()
				all = append(all, m.Data)
				mu.Unlock()
			}
		}
	})
	return enemy(t, n.machine, nil), func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return append([][]byte(nil), all...)
	}
}

// forms are what a stranger makes of an item without touching what is signed.
func forms(item []byte) map[string][]byte {
	unknown := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, 1<<10))
	long := append([]byte{item[0], item[1] | 0x80}, append(binary.AppendUvarint(nil, uint64(item[1]>>7)), item[2:]...)...)
	return map[string][]byte{
		"field behind":   append(bytes.Clone(item), unknown...),
		"field in front": append(bytes.Clone(unknown), item...),
		"hint twice":     append(bytes.Clone(item), item[len(item)-2:]...),
		"no hint":        item[:len(item)-2],
		"long hint":      append(bytes.Clone(item[:len(item)-1]), 0x80, 0),
		"long length":    long,
	}
}

// Gossip passes on an item once and in its own form, whoever sends what else of it:
// padded, with forged hints, again under other names. That costs.
func TestRelaysAnItemOnceInItsOwnForm(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 1)
	n := newDataNode(t, c, bs)
	for kind, item := range map[stream.Kind]interface {
		EncodeP2P() []byte
	}{stream.Headers: bs[4].Header, stream.Data: bs[4].Data} {
		t.Run(string(kind), func(t *testing.T) {
			p, heard := relay(t, n, kind)
			body := item.EncodeP2P()
			forged := bs[4].Header.WithDAHint(1 << 40).EncodeP2P()
			stats := n.ex.Stats
			if kind == stream.Data {
				forged, stats = bs[4].Data.WithDAHint(1<<40).EncodeP2P(), n.dx.Stats
			}
			for _, b := range forms(body) {
				require.NoError(t, p.Gossip(t.Context(), kind, b))
			}
			require.NoError(t, p.Gossip(t.Context(), kind, forged))
			eventually(t, func() bool { return stats().Gossip["ignore_hint"] == 1 && stats().Gossip["ignore_form"] >= 5 }, "%v", stats().Gossip)
			require.Empty(t, heard())
			require.NoError(t, p.GossipAs(t.Context(), kind, testutil.Key("one"), body))
			eventually(t, func() bool { return len(heard()) == 1 }, "not passed on")
			for _, name := range []string{"two", "three", "four"} {
				require.NoError(t, p.GossipAs(t.Context(), kind, testutil.Key(name), body))
				require.NoError(t, p.Gossip(t.Context(), kind, body))
			}
			eventually(t, func() bool { return stats().Gossip["ignore_again"] == 6 }, "%v", stats().Gossip)
			require.Equal(t, [][]byte{body}, heard())
			require.Empty(t, n.faultsOf(p), "a few are put up with")
			for range noiseBurst + 50 {
				require.NoError(t, p.Gossip(t.Context(), kind, body))
			}
			eventually(t, func() bool { return stats().Faults["repeated"] > 20 }, "it does not pay: %v", stats().Faults)
			require.Len(t, heard(), 1)
		})
	}
}

// New items go round in their own form too, though a padded one came first; old ones
// do not.
func TestPaddedItemDoesNotStopItsOwnForm(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(relayWindow+10, 0)
	n := newDataNode(t, c, bs)
	p, heard := relay(t, n, stream.Headers)
	next := c.Next().Header
	require.NoError(t, p.Gossip(t.Context(), stream.Headers, forms(next.EncodeP2P())["field behind"]))
	require.NoError(t, p.Gossip(t.Context(), stream.Headers, bs[2].Header.EncodeP2P()))
	require.NoError(t, p.GossipAs(t.Context(), stream.Headers, testutil.Key("maker"), next.EncodeP2P()))
	n.store.reaches(t, next.Height())
	eventually(t, func() bool { return len(heard()) == 1 }, "not passed on")
	require.Equal(t, next.EncodeP2P(), heard()[0])
	eventually(t, func() bool { return n.ex.Stats().Gossip["ignore_again"] == 1 }, "%v", n.ex.Stats().Gossip)
}

// The link of data that comes before its turn is not proven, so it waits and is not
// passed on; forged ones would be as good.
func TestDataAheadIsNotPassedOn(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(8, 1)
	n := newDataNode(t, c, bs[:5])
	require.NoError(t, n.store.Append(t.Context(), testutil.Headers(bs[5:])...))
	p, heard := relay(t, n, stream.Data)
	for i := range byte(4) {
		m := *bs[7].Data.Metadata
		m.LastDataHash = bytes.Repeat([]byte{i}, 32)
		require.NoError(t, p.Gossip(t.Context(), stream.Data, block.NewData(&m, bs[7].Data.Txs).EncodeP2P()))
	}
	eventually(t, func() bool { return n.dx.Stats().Gossip["accept_ahead"] == 4 }, "%v", n.dx.Stats().Gossip)
	require.NoError(t, p.Gossip(t.Context(), stream.Data, bs[5].Data.EncodeP2P()))
	eventually(t, func() bool { return len(heard()) == 1 }, "not passed on")
	require.Equal(t, bs[5].Data.EncodeP2P(), heard()[0])
	require.NoError(t, p.Gossip(t.Context(), stream.Data, bs[6].Data.EncodeP2P()))
	n.data.reaches(t, 8)
	require.Equal(t, bs[7].Data.Digest(), n.data.items[8].Digest())
}

// Data that overtakes another is passed on once what comes before it is there.
func TestDataThatOvertakesIsPassedOn(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(8, 1)
	n := newDataNode(t, c, bs[:5])
	require.NoError(t, n.store.Append(t.Context(), testutil.Headers(bs[5:])...))
	p, heard := relay(t, n, stream.Data)
	for _, i := range []int{7, 6, 5} {
		require.NoError(t, p.Gossip(t.Context(), stream.Data, bs[i].Data.EncodeP2P()))
	}
	eventually(t, func() bool { return len(heard()) == 3 }, "not passed on")
	n.data.reaches(t, 8)
}

// Spam: data for heights to come waits for its headers, and takes no place among
// what is checked: an honest peer's data is heard beside it.
func TestSpam_WaitingDataTakesNoCheck(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(2, 1)
	n := newDataNode(t, c, bs, func(p *DataParams) { p.Config.DataWait = soon })
	for i := range 3 {
		f := c.Fork()
		p := enemy(t, n.machine, nil)
		for k := range 400 {
			require.NoError(t, p.Gossip(t.Context(), stream.Data, f.Next([]byte{byte(i), byte(k), byte(k >> 8)}).Data.EncodeP2P()))
		}
	}
	eventually(t, func() bool { return n.dx.Status().WaitingBytes > 50<<20 }, "waiting %d", n.dx.Status().WaitingBytes)
	require.LessOrEqual(t, len(n.dx.checks.slots), 16)
	good := c.Next([]byte("good"))
	require.NoError(t, n.store.Append(t.Context(), good.Header))
	honest := enemy(t, n.machine, nil)
	require.NoError(t, honest.Gossip(t.Context(), stream.Data, good.Data.EncodeP2P()))
	n.data.reaches(t, 3)
}

// Spam: data of millions of empty transactions counts what it takes in memory, so that
// it is not even decoded.
func TestSpam_EmptyTransactionsCountAsHeld(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(2, 1)
	n := newDataNode(t, c, bs)
	p := enemy(t, n.machine, nil)
	m := &block.Metadata{ChainID: chainID, Height: 3, Time: bs[1].Header.Header.Time}
	body := append(block.NewData(m, nil).Encode(), bytes.Repeat([]byte{2<<3 | 2, 0}, 2<<20)...)
	require.NoError(t, p.Gossip(t.Context(), stream.Data, append(body, 3<<3, 0)))
	eventually(t, func() bool { return n.dx.Stats().Gossip["ignore_busy"] == 1 }, "%v", n.dx.Stats().Gossip)
	few := append(block.NewData(m, nil).Encode(), bytes.Repeat([]byte{2<<3 | 2, 0}, 64<<10)...)
	require.NoError(t, p.Gossip(t.Context(), stream.Data, append(few, 3<<3, 0)))
	eventually(t, func() bool { return n.dx.Status().WaitingBytes > 3<<20 }, "waiting %d", n.dx.Status().WaitingBytes)
}

// A peer that is connected, and whose gossip does not arrive, is asked: twins of one
// key, and peers back after a power cut, get none for minutes.
func TestConnectedButSilent(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	a := newHeaderNode(t, c, bs)
	b := newHeaderNode(t, c, bs, func(p *HeaderParams) { p.Config.Settle = 20 * time.Millisecond })
	connect(t, a.machine, b.machine)
	eventually(t, func() bool { return len(b.ex.Told()) == 1 }, "not told")
	for range 3 { // stored, and never gossiped
		next := c.Next().Header
		require.NoError(t, a.store.Append(t.Context(), next))
		b.store.reaches(t, next.Height())
	}
}

// Spam: answers to ranges count what they take in memory too, before they are decoded,
// and while they wait to be appended.
func TestSpam_EmptyTransactionsInAnswersCountAsHeld(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(2, 1)
	n := newDataNode(t, c, bs[:1])
	held := watch(t, n.dx.Status)
	body := append(bs[1].Data.Encode(), bytes.Repeat([]byte{2<<3 | 2, 0}, 1<<20)...) // 2 MiB that become 26 MiB
	for range 3 {
		enemy(t, n.machine, map[stream.Kind]stream.Responder{stream.Data: stream.Wrong(append(body, 3<<3, 0))})
	}
	require.NoError(t, n.store.Append(t.Context(), bs[1].Header))
	eventually(t, func() bool { return n.dx.Stats().Lies >= 3 }, "%+v", n.dx.Stats())
	require.Greater(t, held.get().QueuedBytes, int64(25<<20), "counted")
}
