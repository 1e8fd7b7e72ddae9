package p2p

import (
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// A stream whose protocol is not negotiated yet counts, for libp2p, against one
// limit for all peers: one stranger that opens streams and sends nothing holds all of
// it and nobody else gets a stream. Here such streams are bounded per peer, and the
// limit for all is that of all streams.

// unnegotiatedPerPeer is how many inbound streams of one peer may be without a
// protocol. Honest ones are for a round trip at most.
const unnegotiatedPerPeer = 16

// streamGate is a resource manager that bounds the inbound streams of each peer that
// have no protocol yet.
type streamGate struct {
	network.ResourceManager

	mu   sync.Mutex
	open map[peer.ID]int // absent when 0
}

func newStreamGate(m network.ResourceManager) *streamGate {
	return &streamGate{ResourceManager: m, open: make(map[peer.ID]int)}
}

// OpenStream implements network.ResourceManager.
func (g *streamGate) OpenStream(p peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if dir != network.DirInbound {
		return g.ResourceManager.OpenStream(p, dir) //nolint:wrapcheck // libp2p's own
	}
	if !g.enter(p) {
		return nil, fmt.Errorf("%d streams of %s wait for a protocol: %w", unnegotiatedPerPeer, p, network.ErrResourceLimitExceeded)
	}
	s, err := g.ResourceManager.OpenStream(p, dir)
	if err != nil {
		g.leave(p)
		return nil, err //nolint:wrapcheck // libp2p's own
	}
	return &gatedStream{StreamManagementScope: s, leave: sync.OnceFunc(func() { g.leave(p) })}, nil
}

func (g *streamGate) enter(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[p] >= unnegotiatedPerPeer {
		return false
	}
	g.open[p]++
	return true
}

func (g *streamGate) leave(p peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[p]--; g.open[p] == 0 {
		delete(g.open, p)
	}
}

// gatedStream leaves the gate when its protocol is known, or with its end.
type gatedStream struct {
	network.StreamManagementScope

	leave func()
}

// SetProtocol implements network.StreamManagementScope.
func (s *gatedStream) SetProtocol(id protocol.ID) error {
	err := s.StreamManagementScope.SetProtocol(id)
	if err == nil {
		s.leave()
	}
	return err //nolint:wrapcheck // libp2p's own
}

// Done implements network.ResourceScopeSpan.
func (s *gatedStream) Done() {
	s.StreamManagementScope.Done()
	s.leave()
}
