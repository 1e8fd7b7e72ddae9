package p2p

import (
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"
)

// Thresholds of pubsub, in our own score. Relaying what others made costs at most
// 50 points, so a FloodSub peer, which cannot check what it relays, always gets our
// messages and is always heard.
const (
	gossipThreshold   = -55 // no lists of messages to and from it
	publishThreshold  = -80 // no messages to it
	graylistThreshold = -90 // none from it
	scoreInterval     = 10 * time.Second
	// seenTime is how long the id of a message is remembered: long enough for it to
	// have gone round, and for the lists of its neighbours to have forgotten it.
	seenTime = 30 * time.Second
)

// gossipOptions bound what pubsub takes and queues, and tell it our scores. Its own
// counters stay off: they are made for a mesh of equals, and the FloodSub peers of
// ev-node are no part of one (ADR 012).
func (n *Node) gossipOptions() []pubsub.Option {
	params := &pubsub.PeerScoreParams{
		// Who is in the graylist is not heard either way; that is for inspect to say.
		AppSpecificScore:  func(id peer.ID) float64 { return max(n.scores.score(id, time.Now()), graylistThreshold) },
		AppSpecificWeight: 1,
		DecayInterval:     scoreInterval,
		DecayToZero:       0.01,
		Topics:            map[string]*pubsub.TopicScoreParams{},
	}
	thresholds := &pubsub.PeerScoreThresholds{
		GossipThreshold: gossipThreshold, PublishThreshold: publishThreshold, GraylistThreshold: graylistThreshold,
	}
	return []pubsub.Option{
		pubsub.WithPeerScore(params, thresholds),
		pubsub.WithAppSpecificRpcInspector(n.inspect),
		pubsub.WithRawTracer(n.queues),
		pubsub.WithRawTracer(n.unchecked),
		pubsub.WithRawTracer(n.topics),
		pubsub.WithSubscriptionFilter(n.topics),
		pubsub.WithSeenMessagesTTL(seenTime),
	}
}

// inspect drops the messages of a peer that sends more than its rate or more than
// there is room for, or what no honest peer makes, before anything is checked, and
// all that comes from one in the graylist, but for subscriptions. Pubsub calls it on
// one goroutine.
func (n *Node) inspect(id peer.ID, rpc *pubsub.RPC) error {
	now := time.Now()
	curb(rpc.Control)
	own, relayed := unsound(string(id), rpc)
	for range own {
		n.Penalise(id, Invalid, "gossip in a form nobody makes")
	}
	for range relayed {
		n.Penalise(id, Relayed, "gossip in a form nobody makes")
	}
	kept, mine := n.rates.pass(id, rpc, now)
	if dropped := len(rpc.Publish) - kept; dropped > 0 {
		n.rates.dropped.Add(uint64(dropped))
		rpc.Publish = rpc.Publish[:kept]
		if mine {
			n.Penalise(id, Flooded, "gossip above its rate")
		}
	}
	if n.scores.score(id, now) < graylistThreshold {
		rpc.Publish, rpc.Control = nil, nil
	}
	n.unchecked.admit(id, rpc)
	return nil
}

// rates bound the gossip of each peer.
type rates struct {
	messages, bytes int // per second
	dropped         atomic.Uint64

	mu    sync.Mutex
	peers map[peer.ID]*pace
}

type pace struct{ messages, bytes *rate.Limiter }

// rateBurst is how many seconds' worth of messages may come at once.
const rateBurst = 2

func newRates(c Config) *rates {
	return &rates{messages: c.GossipPeerMessages, bytes: c.GossipPeerBytes, peers: make(map[peer.ID]*pace)}
}

// pass returns how many of the messages may pass, from the first on, and whether
// the first of the others was made by the peer itself.
func (r *rates) pass(id peer.ID, rpc *pubsub.RPC, now time.Time) (kept int, own bool) {
	if len(rpc.Publish) == 0 {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.peers[id]
	if !ok {
		if len(r.peers) >= maxRecords {
			clear(r.peers) // left over by peers that came and went
		}
		p = &pace{
			messages: rate.NewLimiter(rate.Limit(r.messages), rateBurst*r.messages),
			bytes:    rate.NewLimiter(rate.Limit(r.bytes), rateBurst*r.bytes),
		}
		r.peers[id] = p
	}
	for _, m := range rpc.Publish {
		if !p.messages.AllowN(now, 1) || !p.bytes.AllowN(now, weight(m)) {
			return kept, peer.ID(m.GetFrom()) == id
		}
		kept++
	}
	return kept, false
}

func (r *rates) forget(id peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, id)
}

// queues counts what waits to be sent to each peer. Payloads are shared between
// peers, so the sum is more than what is held.
type queues struct {
	deaf
	limit int64
	over  func(peer.ID) // called once per fill; must not block

	mu    sync.Mutex
	peers map[peer.ID]int64
	full  atomic.Uint64
}

func newQueues(c Config, over func(peer.ID)) *queues {
	return &queues{limit: int64(c.GossipQueueBytes), over: over, peers: make(map[peer.ID]int64)}
}

// total returns the bytes waiting for all peers.
func (q *queues) total() (sum int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range q.peers {
		sum += max(n, 0)
	}
	return sum
}

func (q *queues) add(id peer.ID, rpc *pubsub.RPC, sign int64) {
	size := sign * payload(rpc)
	if size == 0 {
		return
	}
	q.mu.Lock()
	before, open := q.peers[id]
	if open || sign > 0 {
		q.peers[id] = before + size
	}
	q.mu.Unlock()
	if before <= q.limit && before+size > q.limit {
		q.full.Add(1)
		q.over(id)
	}
}

func payload(rpc *pubsub.RPC) (n int64) {
	for _, m := range rpc.Publish {
		n += int64(weight(m))
	}
	return n
}

// SendRPC implements pubsub.RawTracer: it was queued.
func (q *queues) SendRPC(rpc *pubsub.RPC, id peer.ID) { q.add(id, rpc, 1) }

// SendRPCCompleted implements pubsub.RawTracer: it is with the transport.
func (q *queues) SendRPCCompleted(rpc *pubsub.RPC, id peer.ID, _ time.Duration) { q.add(id, rpc, -1) }

// OnNewOutboundStream implements pubsub.RawTracer.
func (q *queues) OnNewOutboundStream(id peer.ID, _ protocol.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.peers[id] += 0
}

// OnClosedOutboundStream implements pubsub.RawTracer: the queue is gone.
func (q *queues) OnClosedOutboundStream(id peer.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.peers, id)
}
