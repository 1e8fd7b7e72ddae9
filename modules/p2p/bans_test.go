package p2p_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/modules/p2p"
)

// stranger is a bare libp2p host.
func stranger(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// floodSub connects a FloodSub peer to n and both to one topic: in is what n hears
// of it, out what the peer hears.
func floodSub(t *testing.T, n *p2p.Node) (flood host.Host, mine, theirs *pubsub.Topic, in, out *pubsub.Subscription) {
	t.Helper()
	flood = stranger(t)
	other, err := pubsub.NewFloodSub(t.Context(), flood)
	require.NoError(t, err)
	require.NoError(t, flood.Connect(t.Context(), *hostInfo(n)))
	mine, err = n.PubSub().Join("topic")
	require.NoError(t, err)
	theirs, err = other.Join("topic")
	require.NoError(t, err)
	in, err = mine.Subscribe()
	require.NoError(t, err)
	out, err = theirs.Subscribe()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(mine.ListPeers()) == 1 && len(theirs.ListPeers()) == 1 }, soon, tick)
	return flood, mine, theirs, in, out
}

func TestBannedPeerStaysAwayUntilTheBanIsLifted(t *testing.T) {
	a, _ := start(t, "a", config())
	b, _ := start(t, "b", config(address(a)))
	require.Eventually(t, connected(a, b), soon, tick)
	for range 3 {
		a.Penalise(b.ID(), p2p.Invalid, "garbage")
	}
	require.Empty(t, a.Bans())
	require.InDelta(t, -90, a.Peers()[0].Score, 1)
	a.Penalise(b.ID(), p2p.Invalid, "more garbage")
	require.Eventually(t, func() bool { return len(a.Peers()) == 0 }, soon, tick)
	bans := a.Bans()
	require.Len(t, bans, 1)
	require.Equal(t, b.ID(), bans[0].ID)
	require.Equal(t, "more garbage", bans[0].Detail)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), bans[0].Until, time.Minute)
	_ = b.Host().Connect(t.Context(), *hostInfo(a)) // may succeed until a hangs up
	require.Eventually(t, func() bool { return !connected(a, b)() && !connected(b, a)() }, soon, tick)
	require.EqualValues(t, 1, a.Stats().Bans)
	require.Equal(t, map[string]uint64{"invalid": 4}, a.Stats().Offences)

	require.True(t, a.Unban(b.ID()))
	require.False(t, a.Unban(b.ID()))
	require.Eventually(t, connected(a, b), 2*soon, tick)
	require.Zero(t, a.Peers()[0].Score)
}

func TestBanByHand(t *testing.T) {
	a, _ := start(t, "a", config())
	b, _ := start(t, "b", config(address(a)))
	require.Eventually(t, connected(a, b), soon, tick)
	require.ErrorContains(t, a.Ban(a.ID(), time.Hour, ""), "itself")
	require.ErrorContains(t, a.Ban(b.ID(), 0, ""), "more than 0")
	require.NoError(t, b.Ban(a.ID(), time.Hour, "maintenance"))
	require.Eventually(t, func() bool { return !connected(b, a)() }, soon, tick)
	require.Error(t, b.Host().Connect(t.Context(), *hostInfo(a)))
	require.True(t, b.Bans()[0].Static)
	require.True(t, b.Unban(a.ID()))
	require.Eventually(t, connected(b, a), soon, tick, "a static peer is dialled again at once")
}

// FloodSub peers relay what they do not check. Whatever passes through them, they
// get our gossip and we take theirs.
func TestSpam_FloodSubPeersAreHeardWhateverTheyRelay(t *testing.T) {
	n, _ := start(t, "n", config())
	flood, mine, theirs, in, out := floodSub(t, n)
	for range 10_000 {
		n.Penalise(flood.ID(), p2p.Relayed, "an unsigned header")
	}
	for range 100 {
		n.Penalise(flood.ID(), p2p.Stalled, "no answer")
	}
	require.Empty(t, n.Bans())
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	require.NoError(t, mine.Publish(ctx, []byte("down")))
	require.NoError(t, theirs.Publish(ctx, []byte("up")))
	for sub, want := range map[*pubsub.Subscription]string{out: "down", in: "up"} {
		for {
			msg, err := sub.Next(ctx)
			require.NoError(t, err, want)
			if string(msg.Data) == want {
				break
			}
		}
	}
}

// A peer that floods is held to its rate, and banned when the flood is its own.
func TestSpam_FloodIsDroppedAndBanned(t *testing.T) {
	c := config()
	c.GossipPeerMessages = 5
	n, _ := start(t, "n", c)
	flood := stranger(t)
	other, err := pubsub.NewFloodSub(t.Context(), flood, pubsub.WithPeerOutboundQueueSize(4096))
	require.NoError(t, err)
	require.NoError(t, flood.Connect(t.Context(), *hostInfo(n)))
	mine, err := n.PubSub().Join("topic")
	require.NoError(t, err)
	stop, err := mine.Relay()
	require.NoError(t, err)
	defer stop()
	theirs, err := other.Join("topic")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(theirs.ListPeers()) == 1 }, soon, tick)
	for i := range 500 {
		require.NoError(t, theirs.Publish(t.Context(), fmt.Append(nil, i)))
	}
	require.Eventually(t, func() bool { return len(n.Bans()) == 1 && len(n.Peers()) == 0 }, soon, tick, "%+v", n.Stats())
	require.GreaterOrEqual(t, n.Stats().Dropped, uint64(100))
	require.Equal(t, p2p.Flooded, n.Bans()[0].Reason)
}

// A peer that subscribes and never reads is disconnected before what waits for it
// is more than the limit and a message.
func TestBigBlocks_SlowReaderHoldsNoMemory(t *testing.T) {
	c := config()
	c.GossipQueueBytes = c.MaxMessageBytes
	n, _ := start(t, "n", c)
	mine, err := n.PubSub().Join("topic")
	require.NoError(t, err)
	deaf := stranger(t)
	deaf.SetStreamHandler(pubsub.FloodSubID, func(network.Stream) {}) // reads nothing
	require.NoError(t, deaf.Connect(t.Context(), *hostInfo(n)))
	s, err := deaf.NewStream(t.Context(), n.ID(), pubsub.FloodSubID)
	require.NoError(t, err)
	hello, err := proto.Marshal(&pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: new(true), Topicid: new("topic")}}})
	require.NoError(t, err)
	_, err = s.Write(append(varint.ToUvarint(uint64(len(hello))), hello...))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(mine.ListPeers()) == 1 }, soon, tick)
	most := int64(0)
	require.Eventually(t, func() bool {
		require.NoError(t, mine.Publish(t.Context(), make([]byte, 1<<20)))
		most = max(most, n.Stats().QueueBytes)
		return len(n.Peers()) == 0
	}, soon, tick)
	require.EqualValues(t, 1, n.Stats().SlowPeers)
	require.LessOrEqual(t, most, int64(c.GossipQueueBytes+2<<20))
	require.Eventually(t, func() bool { return n.Stats().QueueBytes == 0 }, soon, tick, "its queue is gone")
}

// Strangers cannot take the places of static peers.
func TestP2PIsolation_ConnectionsAreLimited(t *testing.T) {
	friend := stranger(t)
	c := config(friend.Addrs()[0].String() + "/p2p/" + friend.ID().String())
	c.MaxPeers = 4
	n, _ := start(t, "n", c)
	isFriend := func() bool { return n.Host().Network().Connectedness(friend.ID()) == network.Connected }
	require.Eventually(t, isFriend, soon, tick)
	for range 10 {
		h := stranger(t)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_ = h.Connect(ctx, *hostInfo(n))
		cancel()
		require.LessOrEqual(t, len(n.Peers()), 5)
	}
	require.True(t, isFriend())
	_ = n.Host().Network().ClosePeer(friend.ID())
	require.Eventually(t, isFriend, soon, tick, "there is room for it")
}

func TestStreamsOfAPeerAreLimited(t *testing.T) {
	c := config()
	c.MaxPeerStreams = 32
	n, _ := start(t, "n", c)
	n.Host().SetStreamHandler("/hold", func(network.Stream) {})
	h := stranger(t)
	require.NoError(t, h.Connect(t.Context(), *hostInfo(n)))
	open := func() int {
		k := 0
		for _, conn := range n.Host().Network().ConnsToPeer(h.ID()) {
			for _, s := range conn.GetStreams() {
				if s.Protocol() == "/hold" {
					k++
				}
			}
		}
		return k
	}
	for range 100 {
		s, err := h.NewStream(t.Context(), n.ID(), "/hold")
		if err == nil {
			_, _ = s.Write([]byte{1})
		}
	}
	require.Eventually(t, func() bool { return open() == 16 }, soon, tick, "half of the streams for one protocol")
	require.Never(t, func() bool { return open() > 16 }, 100*time.Millisecond, tick)
}
