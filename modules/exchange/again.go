package exchange

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/tandem-node/tandem/modules/block"
)

// relayed remembers which items were passed on, of the newest heights: each goes
// round once, whoever sends it again in a message of its own. Older heights are not
// passed on at all, who lacks them asks for ranges.
type relayed struct {
	mu    sync.Mutex
	items map[uint64]block.Hash
	top   uint64
}

// relayWindow is how many heights below the head are passed on.
const relayWindow = 1024

func (r *relayed) init() { r.items = make(map[uint64]block.Hash) }

// was reports whether an item was passed on, or is too old to be.
func (r *relayed) was(head, height uint64, h block.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over(head, height, h)
}

// first reports whether an item is to be passed on, and notes that it was.
func (r *relayed) first(head, height uint64, h block.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over(head, height, h) {
		return false
	}
	r.items[height] = h
	r.top = max(r.top, height)
	if len(r.items) > 2*relayWindow {
		for old := range r.items {
			if old+relayWindow < r.top {
				delete(r.items, old)
			}
		}
	}
	return true
}

func (r *relayed) over(head, height uint64, h block.Hash) bool {
	old, ok := r.items[height]
	return ok && old == h || height+relayWindow < max(head, r.top)
}

// noise measures the gossip of each peer that brings nothing: items in other forms
// than their own, again, with hints nobody can check, or of proposers nobody knows.
// Honest peers send little of it.
type noise struct {
	mu    sync.Mutex
	peers map[peer.ID]*rate.Limiter
}

// What is put up with of one peer, in messages: per second, and at once.
const (
	noiseRate  = 20
	noiseBurst = 200
)

func (n *noise) init() { n.peers = make(map[peer.ID]*rate.Limiter) }

// bears reports whether one more message may be put up with.
func (n *noise) bears(p peer.ID, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, ok := n.peers[p]
	if !ok {
		if len(n.peers) >= maxClaims {
			clear(n.peers) // left over by peers that came and went
		}
		l = rate.NewLimiter(noiseRate, noiseBurst)
		n.peers[p] = l
	}
	return l.AllowN(now, 1)
}

func (n *noise) forget(p peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.peers, p)
}
