package p2p

import (
	"sync"
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// uncheckedShare is the part of the unchecked bytes one peer may take.
const uncheckedShare = 4

// unchecked counts what waits in pubsub's queue for its signature to be looked at,
// which pubsub bounds by the number of messages alone. A message counts from the
// inspector, which takes it in, until pubsub tells its tracer what came of it; it
// does so once for each message of a topic this node is in, from any peer but those
// in the graylist, which is why neither of the others is taken in.
type unchecked struct {
	deaf
	limit, share int64
	self         peer.ID
	dropped      atomic.Uint64

	topics *topics

	mu    sync.Mutex
	bytes int64
	peers map[peer.ID]int64
}

func newUnchecked(c Config, self peer.ID, t *topics) *unchecked {
	limit := int64(c.GossipUncheckedBytes)
	return &unchecked{limit: limit, share: limit / uncheckedShare, self: self, topics: t, peers: make(map[peer.ID]int64)}
}

// admit drops the messages there is no room for, and those of topics this node is
// not in, and takes in the others. It works in place.
func (u *unchecked) admit(id peer.ID, rpc *pubsub.RPC) {
	u.mu.Lock()
	defer u.mu.Unlock()
	kept := rpc.Publish[:0]
	for _, m := range rpc.Publish {
		if !u.topics.joined(m.GetTopic()) {
			continue
		}
		size := int64(weight(m))
		if u.bytes+size > u.limit || u.peers[id]+size > u.share {
			u.dropped.Add(1)
			continue
		}
		u.bytes += size
		u.peers[id] += size
		kept = append(kept, m)
	}
	clear(rpc.Publish[len(kept):])
	rpc.Publish = kept
}

// left is told of each message that no longer waits.
func (u *unchecked) left(m *pubsub.Message) {
	if m.ReceivedFrom == u.self {
		return // published here, never taken in
	}
	size := int64(weight(m.Message))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes -= size
	if u.peers[m.ReceivedFrom] -= size; u.peers[m.ReceivedFrom] <= 0 {
		delete(u.peers, m.ReceivedFrom)
	}
}

// size returns the bytes that wait.
func (u *unchecked) size() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bytes
}

// ValidateMessage implements pubsub.RawTracer: the signature is fine.
func (u *unchecked) ValidateMessage(m *pubsub.Message) { u.left(m) }

// DuplicateMessage implements pubsub.RawTracer: it was seen before.
func (u *unchecked) DuplicateMessage(m *pubsub.Message) { u.left(m) }

// RejectMessage implements pubsub.RawTracer.
func (u *unchecked) RejectMessage(m *pubsub.Message, reason string) {
	switch reason {
	case pubsub.RejectValidationFailed, pubsub.RejectValidationIgnored, pubsub.RejectValidationThrottled:
		return // later: ValidateMessage was there before
	}
	u.left(m)
}
