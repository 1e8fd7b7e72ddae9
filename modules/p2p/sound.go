package p2p

import (
	"slices"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// Limits of what pubsub keeps of a message after it has passed, or never checks.
// Its id, author and sequence number, is remembered for seenTime.
const (
	maxIDBytes   = 128
	seqnoBytes   = 8
	maxSignature = 1 << 10 // that of an RSA key of 8,192 bits
	maxKey       = 2 << 10
)

// sound reports whether an honest peer may have made a message of this form. Unknown
// fields would be relayed with it.
func sound(m *pb.Message) bool {
	return len(m.GetSeqno()) == seqnoBytes && len(m.GetFrom()) <= maxIDBytes-seqnoBytes && len(m.GetSignature()) <= maxSignature &&
		len(m.GetKey()) <= maxKey && len(m.ProtoReflect().GetUnknown()) == 0
}

// weight is what a message counts: all of its bytes.
func weight(m *pb.Message) int {
	return len(m.GetData()) + len(m.GetFrom()) + len(m.GetSeqno()) + len(m.GetTopic()) + len(m.GetSignature()) + len(m.GetKey())
}

// curb takes out of a control message what no honest peer puts there: ids longer than
// any, which would be kept and sent back, and peers to connect to, which nobody here
// asked for.
func curb(c *pb.ControlMessage) {
	for _, list := range c.GetIhave() {
		list.MessageIDs = shortIDs(list.MessageIDs)
	}
	for _, list := range c.GetIwant() {
		list.MessageIDs = shortIDs(list.MessageIDs)
	}
	for _, list := range c.GetIdontwant() {
		list.MessageIDs = shortIDs(list.MessageIDs)
	}
	for _, p := range c.GetPrune() {
		p.Peers = nil
	}
}

func shortIDs(ids []string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return len(id) > maxIDBytes })
}

// unsound takes messages out that no honest peer makes, and returns who to blame: by
// whether the peer made it itself.
func unsound(from string, rpc *pubsub.RPC) (own, relayed int) {
	rpc.Publish = slices.DeleteFunc(rpc.Publish, func(m *pb.Message) bool {
		switch {
		case sound(m):
			return false
		case string(m.GetFrom()) == from:
			own++
		default:
			relayed++
		}
		return true
	})
	return own, relayed
}
