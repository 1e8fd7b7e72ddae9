package p2p

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/routing"
	"go.uber.org/zap"
)

// Timing of the search for peers when none is left.
const (
	firstRescue   = 5 * time.Second
	longestRescue = time.Minute
	// chanceEvery is how often a banned peer may be given another chance.
	chanceEvery = 30 * time.Second
	// rescueDials is how many former peers are dialled at once.
	rescueDials = 8
)

// acquaintances are peers of the chain that were connected before, with their
// addresses: who to ask when nobody is left.
type acquaintances struct {
	mu    sync.Mutex
	peers map[peer.ID]peer.AddrInfo
}

// maxAcquaintances and maxAddresses bound what is remembered; any other gives way.
const (
	maxAcquaintances = 64
	maxAddresses     = 8
)

func (a *acquaintances) note(info peer.AddrInfo) {
	if len(info.Addrs) == 0 {
		return
	}
	info.Addrs = info.Addrs[:min(len(info.Addrs), maxAddresses)]
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.peers == nil {
		a.peers = make(map[peer.ID]peer.AddrInfo)
	}
	if _, ok := a.peers[info.ID]; !ok && len(a.peers) >= maxAcquaintances {
		for id := range a.peers {
			delete(a.peers, id)
			break
		}
	}
	a.peers[info.ID] = info
}

// some returns a few of them, others each time.
func (a *acquaintances) some(n int) []peer.AddrInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]peer.AddrInfo, 0, n)
	for _, info := range a.peers { // in random order
		if len(out) == n {
			break
		}
		out = append(out, info)
	}
	return out
}

// ofChain reports whether a connected peer speaks the chain's protocol.
func (n *Node) ofChain(h host.Host, id peer.ID) bool {
	if n.p.ChainProtocol == "" {
		return true
	}
	known, err := h.Peerstore().SupportsProtocols(id, n.p.ChainProtocol)
	return err == nil && len(known) > 0
}

// isolated reports whether no peer of the chain is connected, and remembers those
// that are.
func (n *Node) isolated(h host.Host) bool {
	alone := true
	for _, id := range h.Network().Peers() {
		if h.Network().Connectedness(id) == network.Connected && n.ofChain(h, id) {
			alone = false
			n.known.note(peer.AddrInfo{ID: id, Addrs: h.Peerstore().Addrs(id)})
		}
	}
	return alone
}

// watchIsolation looks for peers while none of the chain is connected. With
// nothing to try, as on a node that only waits to be dialled, it sleeps.
func (n *Node) watchIsolation(ctx context.Context, h host.Host, w *wakes) {
	pause, chanced := firstRescue, time.Time{}
	for ctx.Err() == nil {
		if !n.isolated(h) {
			pause = firstRescue
			if !wait(ctx, w.isolation, nil) {
				return
			}
			continue
		}
		if n.dht == nil && len(n.known.some(1)) == 0 && len(n.Bans()) == 0 {
			if !wait(ctx, w.isolation, nil) {
				return
			}
			continue
		}
		if !n.stillIsolated(ctx, h, w, jitter(pause)) {
			continue
		}
		n.rescues.Add(1)
		n.p.Log.Info("no peer of the chain is connected, looking for some", zap.Int("banned", len(n.Bans())))
		if now := time.Now(); now.Sub(chanced) >= chanceEvery {
			if id, ok := n.scores.chance(n.isStatic, now); ok {
				chanced = now
				n.p.Log.Info("nobody else is left: a banned peer gets another chance", zap.Stringer("peer", id))
			}
		}
		n.rescue(ctx, h, w)
		pause = min(2*pause, longestRescue)
	}
}

// stillIsolated waits and reports whether nobody came in the meantime.
func (n *Node) stillIsolated(ctx context.Context, h host.Host, w *wakes, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return n.isolated(h)
		case <-w.isolation:
			if !n.isolated(h) {
				return false
			}
		}
	}
}

// rescue dials everybody who may help, all at once: static peers, peers of before,
// and those the DHT knows.
func (n *Node) rescue(ctx context.Context, h host.Host, w *wakes) {
	w.redial()
	var wg sync.WaitGroup
	for _, info := range n.known.some(rescueDials) {
		if n.isStatic(info.ID) || !n.permitted(info.ID) || !n.gater.permits(info.ID) {
			continue
		}
		wg.Go(func() { _ = n.dial(ctx, h, info) })
	}
	if n.dht != nil && n.dht.RoutingTable().Size() > 0 {
		wg.Go(func() { n.find(ctx, h, routing.NewRoutingDiscovery(n.dht)) })
	}
	wg.Wait()
}
