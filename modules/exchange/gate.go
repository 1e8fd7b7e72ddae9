package exchange

import (
	"context"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// gate counts what runs on goroutines of others (stream handlers, validators),
// so that Run can wait for all of it.
type gate struct {
	mu     sync.Mutex
	closed bool
	n      int
	empty  chan struct{}
}

func (g *gate) init() { g.empty = make(chan struct{}) }

// enter reports whether the caller may go on; then it must call leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.closed && g.n == 0 {
		close(g.empty)
	}
}

// close lets nobody in any more and waits until all have left.
func (g *gate) close() {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	if first && g.n == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
}

// limiter bounds what is done at once: over all by waiting, per peer by
// refusing.
type limiter struct {
	slots chan struct{}
	most  int
	mu    sync.Mutex
	peers map[peer.ID]int
}

func (l *limiter) init(all, perPeer int) {
	l.slots = make(chan struct{}, max(all, 1))
	l.most = perPeer
	l.peers = make(map[peer.ID]int)
}

// acquire takes a slot; it is false when the peer has too many or ctx ends.
func (l *limiter) acquire(ctx context.Context, p peer.ID) bool {
	l.mu.Lock()
	if l.peers[p] >= l.most {
		l.mu.Unlock()
		return false
	}
	l.peers[p]++
	l.mu.Unlock()
	select {
	case l.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		l.forget(p)
		return false
	}
}

func (l *limiter) release(p peer.ID) {
	<-l.slots
	l.forget(p)
}

func (l *limiter) forget(p peer.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peers[p]--; l.peers[p] <= 0 {
		delete(l.peers, p)
	}
}
