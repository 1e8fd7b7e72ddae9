package p2p

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

var _ connmgr.ConnectionGater = (*gater)(nil)

// gater decides by peer id who may connect, in both directions.
type gater struct {
	mu      sync.RWMutex
	blocked map[peer.ID]struct{}
	allowed map[peer.ID]struct{} // empty: everyone who is not blocked
	free    func(peer.ID) bool   // not banned now
}

func (g *gater) permits(id peer.ID) bool {
	if !g.free(id) {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if _, ok := g.blocked[id]; ok {
		return false
	}
	if len(g.allowed) == 0 {
		return true
	}
	_, ok := g.allowed[id]
	return ok
}

func (g *gater) block(id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blocked[id] = struct{}{}
}

func (g *gater) unblock(id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.blocked, id)
}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g *gater) InterceptPeerDial(id peer.ID) bool { return g.permits(id) }

// InterceptAddrDial implements connmgr.ConnectionGater.
func (g *gater) InterceptAddrDial(id peer.ID, _ ma.Multiaddr) bool { return g.permits(id) }

// InterceptAccept implements connmgr.ConnectionGater. Who dials is not known yet.
func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater.
func (g *gater) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return g.permits(id)
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
