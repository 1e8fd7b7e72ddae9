package p2p_test

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/modules/p2p"
)

// TestSpam_UncheckedGossipIsBounded: what waits for its signature to be checked is
// bounded in bytes, a quarter of them per peer.
func TestSpam_UncheckedGossipIsBounded(t *testing.T) {
	c := config()
	c.GossipUncheckedBytes = 4 * c.MaxMessageBytes
	n, _ := start(t, "n", c)
	flood, mine, theirs, in, out := floodSub(t, n)
	defer in.Cancel()
	defer out.Cancel()
	hold, came := make(chan struct{}), atomic.Int64{}
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	// In line, so that pubsub's own workers wait and its queue fills up.
	stuck := func(ctx context.Context, from peer.ID, _ *pubsub.Message) pubsub.ValidationResult {
		if from != flood.ID() {
			return pubsub.ValidationAccept
		}
		came.Add(1)
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return pubsub.ValidationIgnore
	}
	require.NoError(t, n.PubSub().RegisterTopicValidator("topic", stuck, pubsub.WithValidatorInline(true)))

	body := make([]byte, 256<<10)
	share := int64(c.GossipUncheckedBytes / 4)
	require.Eventually(t, func() bool {
		require.NoError(t, theirs.Publish(t.Context(), body))
		s := n.Stats()
		require.LessOrEqual(t, s.Unchecked, share)
		return s.Crowded > 20
	}, soon, tick)
	require.Greater(t, n.Stats().Unchecked, share-int64(len(body)), "all there is room for")
	require.NoError(t, mine.Publish(t.Context(), body), "what is published here does not wait")

	release()
	require.Eventually(t, func() bool { return n.Stats().Unchecked == 0 }, soon, tick)
	require.Positive(t, came.Load())
}

// TestUncheckedGossipIsGivenBack: by messages that are good, bad, known, and of no
// topic of this node.
func TestUncheckedGossipIsGivenBack(t *testing.T) {
	c := config()
	c.GossipUncheckedBytes = 4 * c.MaxMessageBytes
	n, _ := start(t, "n", c)
	mine, err := n.PubSub().Join("topic")
	require.NoError(t, err)
	in, err := mine.Subscribe()
	require.NoError(t, err)
	defer in.Cancel()
	h := stranger(t)
	require.NoError(t, h.Connect(t.Context(), *hostInfo(n)))
	s, err := h.NewStream(t.Context(), n.ID(), pubsub.FloodSubID)
	require.NoError(t, err)
	seqno := uint64(0)
	message := func(topic string, size int) *pb.Message {
		seqno++
		return &pb.Message{
			From: []byte(h.ID()), Topic: &topic, Seqno: binary.BigEndian.AppendUint64(nil, seqno), Data: make([]byte, size),
		}
	}
	send := func(all ...*pb.Message) {
		frame, err := proto.Marshal(&pb.RPC{Publish: all})
		require.NoError(t, err)
		_, err = s.Write(append(varint.ToUvarint(uint64(len(frame))), frame...))
		require.NoError(t, err)
	}
	const size = 256 << 10
	for range 2 * c.GossipUncheckedBytes / size {
		unsigned, forged, good := message("topic", size), message("topic", size), signed(t, h, message("topic", size))
		forged.Signature = good.Signature
		send(unsigned, forged, message("elsewhere", size), good, good)
		m, err := in.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, good.GetSeqno(), m.GetSeqno())
		require.Eventually(t, func() bool { return n.Stats().Unchecked == 0 }, soon, tick)
	}
	require.Zero(t, n.Stats().Crowded)
}

// signed is a message as pubsub signs it.
func signed(t *testing.T, h host.Host, m *pb.Message) *pb.Message {
	t.Helper()
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	m.Signature, err = h.Peerstore().PrivKey(h.ID()).Sign(append([]byte(pubsub.SignPrefix), b...))
	require.NoError(t, err)
	return m
}

func TestUncheckedGossipNeedsRoomForAMessage(t *testing.T) {
	c := p2p.Default()
	c.GossipUncheckedBytes = 4*c.MaxMessageBytes - 1
	require.ErrorContains(t, c.Validate(), "p2p.gossip_unchecked_bytes is 21233663")
}
