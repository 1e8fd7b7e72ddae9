package p2p

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/routing"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"go.uber.org/zap"
)

// Timing of dialling and discovery.
const (
	dialTimeout     = 10 * time.Second
	firstBackoff    = time.Second
	shortLived      = 5 * time.Second
	longestBackoff  = 30 * time.Second
	advertiseTTL    = time.Hour
	findTimeout     = 30 * time.Second
	findLimit       = 60
	enoughPeers     = 8
	discoverySettle = 2 * time.Second
)

// Run keeps the static peers connected and, with a DHT, looks for others of the
// same chain. It returns nil when ctx ends.
func (n *Node) Run(ctx context.Context) error {
	if n.p.Config.Disabled {
		<-ctx.Done()
		return nil
	}
	h := n.Host()
	static, err := n.p.Config.staticPeers()
	if err != nil {
		return err
	}
	sub, err := h.EventBus().Subscribe([]any{
		new(event.EvtPeerConnectednessChanged), new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated),
	}, eventbus.Name("tandem-p2p"), eventbus.BufSize(256))
	if err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	defer func() { _ = sub.Close() }()

	wake := newWakes(static)
	var wg sync.WaitGroup
	wg.Go(func() { n.police(ctx, h) })
	wg.Go(func() { n.watchIsolation(ctx, h, wake) })
	wg.Go(func() { n.watchTwins(ctx, h) })
	n.reportOwn()
	for _, info := range static {
		if info.ID != h.ID() {
			h.ConnManager().Protect(info.ID, "static")
			wg.Go(func() { n.keepConnected(ctx, h, info, wake) })
		}
	}
	if n.dht != nil {
		wg.Go(func() { n.discover(ctx, h, wake.any) })
	}
	n.forward(ctx, sub, wake)
	wg.Wait()
	return nil
}

// wakes hands connection changes to the loops that care. Every channel holds
// one wake-up, which is enough: the loops read the state anew.
type wakes struct {
	byPeer    map[peer.ID]chan struct{}
	hurry     map[peer.ID]chan struct{} // dial now
	any       chan struct{}
	isolation chan struct{}
}

func newWakes(static []peer.AddrInfo) *wakes {
	w := &wakes{
		byPeer: make(map[peer.ID]chan struct{}, len(static)), hurry: make(map[peer.ID]chan struct{}, len(static)),
		any: make(chan struct{}, 1), isolation: make(chan struct{}, 1),
	}
	for _, info := range static {
		w.byPeer[info.ID], w.hurry[info.ID] = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	return w
}

// redial makes all static peers be dialled now.
func (w *wakes) redial() {
	for _, c := range w.hurry {
		poke(c)
	}
}

func (n *Node) forward(ctx context.Context, sub event.Subscription, w *wakes) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.lifted:
			w.redial()
			poke(w.isolation)
		case e, ok := <-sub.Out():
			if !ok {
				return
			}
			poke(w.isolation)
			if change, ok := e.(event.EvtPeerConnectednessChanged); ok {
				poke(w.byPeer[change.Peer])
				poke(w.any)
				if change.Connectedness == network.NotConnected {
					n.rates.forget(change.Peer)
				}
			}
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keepConnected dials a static peer until it is connected, waits until it is
// not, and starts over.
func (n *Node) keepConnected(ctx context.Context, h host.Host, info peer.AddrInfo, w *wakes) {
	changed, hurry := w.byPeer[info.ID], w.hurry[info.ID]
	connected := func() bool { return h.Network().Connectedness(info.ID) == network.Connected }
	backoff, up := firstBackoff, connectedSince{}
	for ctx.Err() == nil {
		if connected() {
			n.reportDial(info, nil)
			up.note()
			if !wait(ctx, changed, nil) {
				return
			}
			continue
		}
		// A connection that ends at once counts as a failed dial: the other side may
		// have banned us.
		brief := up.was && time.Since(up.since) < shortLived
		if up.was && !brief {
			backoff = firstBackoff
		}
		up = connectedSince{}
		free := n.permitted(info.ID)
		if free && !brief && n.dialStatic(ctx, h, info, backoff == firstBackoff) {
			up.note()
			continue
		}
		pause := jitter(backoff)
		if free {
			backoff = min(2*backoff, longestBackoff)
		} else {
			pause = time.Until(n.scores.bannedUntil(info.ID, time.Now()))
		}
		if !pauseFor(ctx, pause, changed, hurry, connected) {
			return
		}
	}
}

// connectedSince remembers the last connection.
type connectedSince struct {
	was   bool
	since time.Time
}

func (c *connectedSince) note() {
	if !c.was {
		c.was, c.since = true, time.Now()
	}
}

func (n *Node) dialStatic(ctx context.Context, h host.Host, info peer.AddrInfo, first bool) bool {
	err := n.dial(ctx, h, info)
	n.reportDial(info, err)
	if err != nil && first {
		n.p.Log.Info("static peer does not answer, dialling goes on", zap.Stringer("peer", info.ID), zap.Error(err))
	}
	return err == nil
}

// pauseFor waits for a time, or until hurry, or until a change that matters. It
// returns false when ctx ended.
func pauseFor(ctx context.Context, d time.Duration, changed, hurry <-chan struct{}, matters func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-hurry:
			return true
		case <-changed:
			if matters() {
				return true
			}
		}
	}
}

func (n *Node) dial(ctx context.Context, h host.Host, info peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// libp2p keeps a back-off of its own, up to minutes; for static peers ours counts.
	if s, ok := h.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(info.ID)
	}
	if err := h.Connect(ctx, info); err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	return nil
}

// discover advertises the chain id in the DHT and connects to others who do,
// while there are few peers. It looks again when connections change.
func (n *Node) discover(ctx context.Context, h host.Host, changed <-chan struct{}) {
	table := routing.NewRoutingDiscovery(n.dht)
	var advertised time.Time
	for ctx.Err() == nil {
		if len(h.Network().Peers()) == 0 {
			if !wait(ctx, changed, nil) {
				return
			}
			continue
		}
		if !wait(ctx, nil, time.After(discoverySettle)) { // let identify fill the routing table
			return
		}
		if time.Since(advertised) > advertiseTTL/2 {
			if _, err := table.Advertise(ctx, n.p.ChainID, discovery.TTL(advertiseTTL)); err == nil {
				advertised = time.Now()
			}
		}
		n.find(ctx, h, table)
		if !wait(ctx, changed, time.After(jitter(advertiseTTL/2))) {
			return
		}
	}
}

func (n *Node) find(ctx context.Context, h host.Host, table *routing.RoutingDiscovery) {
	if len(h.Network().Peers()) >= enoughPeers {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	found, err := table.FindPeers(ctx, n.p.ChainID, discovery.Limit(findLimit))
	if err != nil {
		n.p.Log.Debug("peer search failed", zap.Error(err))
		return
	}
	for info := range found {
		if info.ID == h.ID() || len(info.Addrs) == 0 || h.Network().Connectedness(info.ID) == network.Connected {
			continue
		}
		if err := h.Connect(ctx, info); err != nil {
			n.p.Log.Debug("peer found but not reached", zap.Stringer("peer", info.ID), zap.Error(err))
		}
	}
}

// wait returns false when ctx ended.
func wait(ctx context.Context, changed <-chan struct{}, after <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-changed:
		return true
	case <-after:
		return true
	}
}

// jitter spreads retries of many nodes: 75 % to 125 % of d.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2) //nolint:gosec // timing, not secrecy
}
