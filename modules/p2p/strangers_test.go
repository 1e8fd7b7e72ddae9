package p2p_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/modules/p2p"
)

// raw is a stranger's stream of gossip, written by hand.
type raw struct {
	t    *testing.T
	host host.Host
	node *p2p.Node
	network.Stream
}

func rawPeer(t *testing.T, n *p2p.Node) *raw {
	t.Helper()
	h := stranger(t)
	h.SetStreamHandler(pubsub.GossipSubID_v12, func(network.Stream) {}) // it hears nothing
	require.NoError(t, h.Connect(t.Context(), *hostInfo(n)))
	s, err := h.NewStream(t.Context(), n.ID(), pubsub.GossipSubID_v12)
	require.NoError(t, err)
	return &raw{t: t, host: h, node: n, Stream: s}
}

// send writes a frame and reports whether the node still takes any.
func (r *raw) send(rpc *pb.RPC) bool {
	r.t.Helper()
	b, err := proto.Marshal(rpc)
	require.NoError(r.t, err)
	return r.bytes(b)
}

func (r *raw) bytes(b []byte) bool {
	_, err := r.Write(protowire.AppendBytes(nil, b))
	return err == nil
}

func (r *raw) banned() bool {
	bans := r.node.Bans()
	return len(bans) == 1 && bans[0].ID == r.host.ID()
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func subscriptions(from, n int) *pb.RPC {
	rpc := &pb.RPC{}
	for i := range n {
		rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Subscribe: new(true), Topicid: new(fmt.Sprintf("%0512d", from+i))})
	}
	return rpc
}

// Spam: a stranger subscribes to topics nobody has heard of. None is remembered, in
// frames of a sound size either, and those of this node count before it joins them.
func TestSpam_TopicsOfStrangersAreForgotten(t *testing.T) {
	n, err := p2p.New(p2p.Params{Config: config(), ChainID: "c", Key: key(t, "n"), Topics: []string{"later"}, Log: zap.NewNop()})
	require.NoError(t, err)
	require.NoError(t, n.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, n.Close(t.Context())) })
	r := rawPeer(t, n)
	require.True(t, r.send(&pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: new(true), Topicid: new("later")}}}))
	before := heap()
	const frames, each = 2000, 50
	for i := range frames {
		require.True(t, r.send(subscriptions(i*each, each)))
	}
	later, err := n.PubSub().Join("later")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(later.ListPeers()) == 1 }, soon, tick)
	require.Less(t, heap()-before, int64(8<<20), "51 MB of topics were sent")
	require.False(t, r.banned())

	for i := range 8 {
		_ = r.send(subscriptions(i*200, 200))
	}
	require.Eventually(t, r.banned, soon, tick, "too many in one frame")
}

// Spam: frames of millions of empty parts would take a hundred times their bytes as
// soon as they are decoded. Their sender is banned before that.
func TestSpam_FramesOfManyPartsAreNotDecoded(t *testing.T) {
	for name, body := range map[string][]byte{
		"messages":      bytes.Repeat([]byte{2<<3 | 2, 0}, 2<<20),
		"subscriptions": bytes.Repeat([]byte{1<<3 | 2, 0}, 200<<10),
		"grafts":        protowire.AppendBytes([]byte{3<<3 | 2}, bytes.Repeat([]byte{3<<3 | 2, 0}, 200<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := start(t, "n", config())
			h := stranger(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			require.Eventually(t, func() bool {
				if n.Host().Network().Connectedness(h.ID()) != network.Connected {
					_ = h.Connect(t.Context(), *hostInfo(n))
				}
				s, err := h.NewStream(t.Context(), n.ID(), pubsub.FloodSubID)
				if err == nil {
					_, _ = s.Write(protowire.AppendBytes(nil, body))
				}
				return len(n.Bans()) == 1
			}, soon, tick)
			runtime.ReadMemStats(&after)
			require.Equal(t, p2p.Invalid, n.Bans()[0].Reason)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(200<<20), "4 frames of up to 4 MiB")
		})
	}
}

// Spam: what pubsub remembers of a message is its id, which its maker chooses. Long
// ones, and fields that would be relayed with the message, are dropped and cost.
func TestSpam_MessagesInFormsNobodyMakes(t *testing.T) {
	for name, spoil := range map[string]func(*pb.Message){
		"long sequence number": func(m *pb.Message) { m.Seqno = make([]byte, 256<<10) },
		"no sequence number":   func(m *pb.Message) { m.Seqno = nil },
		"long key":             func(m *pb.Message) { m.Key = make([]byte, 64<<10) },
		"unknown fields": func(m *pb.Message) {
			m.ProtoReflect().SetUnknown(protowire.AppendBytes([]byte{15<<3 | 2}, make([]byte, 64<<10)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := start(t, "n", config())
			mine, err := n.PubSub().Join("topic")
			require.NoError(t, err)
			in, err := mine.Subscribe()
			require.NoError(t, err)
			defer in.Cancel()
			r := rawPeer(t, n)
			for i := range uint64(4) {
				m := &pb.Message{From: []byte(r.host.ID()), Topic: new("topic"), Data: []byte("x"), Seqno: binary.BigEndian.AppendUint64(nil, i)}
				spoil(m)
				_ = r.send(&pb.RPC{Publish: []*pb.Message{signed(t, r.host, m)}})
			}
			require.Eventually(t, r.banned, soon, tick)
		})
	}
}

// Spam: ids of messages that are offered or refused are kept and sent back. Long ones
// are not.
func TestSpam_LongIDsAreNotAskedFor(t *testing.T) {
	n, _ := start(t, "n", config())
	mine, err := n.PubSub().Join("topic")
	require.NoError(t, err)
	stop, err := mine.Relay()
	require.NoError(t, err)
	defer stop()
	h := stranger(t)
	asked := make(chan string, 16)
	h.SetStreamHandler(pubsub.GossipSubID_v12, func(s network.Stream) { readAsked(s, asked) })
	require.NoError(t, h.Connect(t.Context(), *hostInfo(n)))
	s, err := h.NewStream(t.Context(), n.ID(), pubsub.GossipSubID_v12)
	require.NoError(t, err)
	r := &raw{t: t, host: h, node: n, Stream: s}
	long, short := string(bytes.Repeat([]byte("x"), 10<<10)), "a short one"
	require.True(t, r.send(&pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: new(true), Topicid: new("topic")}}}))
	require.Eventually(t, func() bool { return len(mine.ListPeers()) == 1 }, soon, tick, "the node can answer")
	require.True(t, r.send(&pb.RPC{
		Control: &pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: new("topic"), MessageIDs: []string{long, short}}}},
	}))
	select {
	case id := <-asked:
		require.Equal(t, short, id)
	case <-time.After(soon):
		require.Fail(t, "not asked for")
	}
	require.Empty(t, asked)
}

// readAsked passes on the ids a node asks for.
func readAsked(s network.Stream, to chan<- string) {
	b := make([]byte, 0, 1<<20)
	for {
		n, err := s.Read(b[len(b):cap(b)])
		if err != nil {
			return
		}
		b = b[:len(b)+n]
		for {
			frame, size := protowire.ConsumeBytes(b)
			if size < 0 {
				break
			}
			var rpc pb.RPC
			if proto.Unmarshal(frame, &rpc) == nil {
				for _, list := range rpc.GetControl().GetIwant() {
					for _, id := range list.GetMessageIDs() {
						to <- id
					}
				}
			}
			b = append(make([]byte, 0, 1<<20), b[size:]...)
		}
	}
}

// TestTwoTransports: addresses of others than TCP and QUIC are not dialled.
func TestTwoTransports(t *testing.T) {
	n, _ := start(t, "n", config())
	other, err := libp2p.New(libp2p.Transport(websocket.New), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0/ws"), libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	require.ErrorContains(t, n.Host().Connect(t.Context(), *host.InfoFromHost(other)), "no transport")
	quic, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { _ = quic.Close() })
	require.NoError(t, n.Host().Connect(t.Context(), peer.AddrInfo{ID: quic.ID(), Addrs: []ma.Multiaddr{quic.Addrs()[0]}}))
}
