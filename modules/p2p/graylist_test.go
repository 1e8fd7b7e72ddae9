package p2p

import (
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/testutil"
)

// Nothing of a peer in the graylist is heard but what it subscribes to: no messages,
// and no control messages, which would make this node send or keep something.
func TestGraylistedPeersAreNotHeard(t *testing.T) {
	k, err := crypto.UnmarshalEd25519PrivateKey(testutil.Key("n"))
	require.NoError(t, err)
	n, err := New(Params{Config: Default(), ChainID: "c", Key: k, Log: zap.NewNop()})
	require.NoError(t, err)
	n.topics.Join("topic")
	frame := func() *pubsub.RPC {
		return &pubsub.RPC{RPC: pb.RPC{
			Subscriptions: []*pb.RPC_SubOpts{{Subscribe: new(true), Topicid: new("topic")}},
			Publish:       []*pb.Message{{Topic: new("topic"), Seqno: make([]byte, seqnoBytes)}},
			Control:       &pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: []string{"id"}}}},
		}}
	}
	heard := frame()
	require.NoError(t, n.inspect("peer", heard))
	require.Len(t, heard.Publish, 1)
	require.NotNil(t, heard.Control)
	for _, r := range []Reason{Invalid, Invalid, Invalid, Flooded} {
		n.Penalise("peer", r, "")
	}
	require.Less(t, n.scores.score("peer", time.Now()), float64(graylistThreshold))
	require.Empty(t, n.Bans())
	unheard := frame()
	require.NoError(t, n.inspect("peer", unheard))
	require.Empty(t, unheard.Publish)
	require.Nil(t, unheard.Control)
	require.Len(t, unheard.Subscriptions, 1)
}
