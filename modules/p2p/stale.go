package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A peer that was killed and restarted comes back on a new connection while the
// old one looks alive for half a minute: nobody said good-bye on it. Pubsub uses
// the old one, and when that ends at last it forgets what the peer subscribed to,
// although it is connected, and is never told again. Such a peer gets no gossip any
// more. So the old connection goes as soon as there is a new one, and when one that
// pubsub may have used ends beside another, both sides start over.
type staleConns struct {
	doubled func(peer.ID) // called for a peer that has two connections of one sort; must not block

	mu       sync.Mutex
	replaced map[string]struct{} // ids of connections closed here
}

const (
	// older connections are not the other half of a simultaneous dial.
	older = dialTimeout
	// settled connections are not the losers of a race between transports.
	settled = time.Second
)

func (s *staleConns) notifiee() network.Notifiee {
	s.replaced = make(map[string]struct{})
	return &network.NotifyBundle{ConnectedF: s.connected, DisconnectedF: s.disconnected}
}

// connected runs before streams of the connection are accepted, so that pubsub
// learns of the end of the old one before it is greeted on the new one.
func (s *staleConns) connected(n network.Network, c network.Conn) {
	for _, old := range n.ConnsToPeer(c.RemotePeer()) {
		if old.ID() == c.ID() {
			continue
		}
		least := older
		if sameSort(old, c) {
			least = settled
			s.doubled(c.RemotePeer())
		}
		if c.Stat().Opened.Sub(old.Stat().Opened) < least {
			continue
		}
		s.mu.Lock()
		s.replaced[old.ID()] = struct{}{}
		s.mu.Unlock()
		_ = old.Close() // the other side is gone
	}
}

// sameSort reports whether two connections that the peer has dialled are over the
// same transport. No simultaneous dial and no race between transports explains them.
func sameSort(a, b network.Conn) bool {
	return a.Stat().Direction == network.DirInbound && b.Stat().Direction == network.DirInbound &&
		a.ConnState().Transport == b.ConnState().Transport
}

func (s *staleConns) disconnected(n network.Network, c network.Conn) {
	s.mu.Lock()
	_, here := s.replaced[c.ID()]
	delete(s.replaced, c.ID())
	s.mu.Unlock()
	if here || time.Since(c.Stat().Opened) < settled {
		return
	}
	for _, left := range n.ConnsToPeer(c.RemotePeer()) {
		if left.Stat().Opened.After(c.Stat().Opened) {
			_ = left.Close() // the static peers dial again at once
		}
	}
}
