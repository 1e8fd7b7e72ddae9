package p2p

import (
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// maxSubscriptions is how many topics one frame may name; a chain has two.
const maxSubscriptions = 64

// topics are those of this node: what it has joined, and what it is going to join,
// since a peer says once only what it subscribes to. Pubsub remembers who is in a
// topic, for as long as the process lives, so no others are let in.
type topics struct {
	deaf
	crowd func(peer.ID) // called for a frame that names too many; must not block

	mu       sync.RWMutex
	expected map[string]struct{}
	now      map[string]struct{}
}

var _ pubsub.SubscriptionFilter = (*topics)(nil)

func newTopics(expected []string, crowd func(peer.ID)) *topics {
	t := &topics{crowd: crowd, expected: make(map[string]struct{}, len(expected)), now: make(map[string]struct{})}
	for _, topic := range expected {
		t.expected[topic] = struct{}{}
	}
	return t
}

// joined reports whether this node is in a topic now.
func (t *topics) joined(topic string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, ok := t.now[topic]
	return ok
}

func (t *topics) known(topic string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, now := t.now[topic]
	_, later := t.expected[topic]
	return now || later
}

// CanSubscribe implements pubsub.SubscriptionFilter: it is asked before a topic is
// joined, and may be any.
func (t *topics) CanSubscribe(topic string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected[topic] = struct{}{}
	return true
}

// FilterIncomingSubscriptions implements pubsub.SubscriptionFilter.
func (t *topics) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if len(subs) > maxSubscriptions {
		t.crowd(from)
		return nil, pubsub.ErrTooManySubscriptions
	}
	return pubsub.FilterSubscriptions(subs, t.known), nil
}

// Join implements pubsub.RawTracer.
func (t *topics) Join(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now[topic] = struct{}{}
}

// Leave implements pubsub.RawTracer.
func (t *topics) Leave(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, topic)
}
