package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"
)

// Penalise takes points from a peer for what it did; at BanScore it is banned for
// BanTime and disconnected. It neither blocks nor calls back.
func (n *Node) Penalise(id peer.ID, r Reason, detail string) {
	if id == n.ID() {
		return
	}
	if n.scores.offend(id, r, detail, time.Now()) {
		n.p.Log.Info("peer is banned", zap.Stringer("peer", id), zap.Stringer("reason", r), zap.String("detail", short(detail)),
			zap.Duration("for", n.p.Config.BanTime))
		n.expel(id)
	}
}

// Ban keeps a peer away for a while and disconnects it. Only Unban or the end of
// the time lifts it: it holds even when nobody else is left.
func (n *Node) Ban(id peer.ID, d time.Duration, why string) error {
	switch {
	case id == n.ID():
		return fmt.Errorf("%s is this node itself", id)
	case d <= 0:
		return fmt.Errorf("ban for %s, want more than 0", d)
	}
	now := time.Now()
	n.scores.ban(id, why, now.Add(d), now)
	n.p.Log.Info("peer is banned by hand", zap.Stringer("peer", id), zap.Duration("for", d))
	n.expel(id)
	return nil
}

// Unban lifts a ban and clears the score. It is false when the peer was not banned.
func (n *Node) Unban(id peer.ID) bool {
	lifted := n.scores.pardon(id, time.Now())
	if lifted {
		n.p.Log.Info("ban is lifted", zap.Stringer("peer", id))
		poke(n.lifted)
	}
	return lifted
}

// Bans lists the peers that are banned now, ordered by id.
func (n *Node) Bans() []Ban {
	out := n.scores.banned(time.Now())
	for i := range out {
		out[i].Static = n.isStatic(out[i].ID)
	}
	return out
}

func (n *Node) isStatic(id peer.ID) bool {
	_, ok := n.static[id]
	return ok
}

// permitted reports whether a peer may connect now.
func (n *Node) permitted(id peer.ID) bool {
	return n.scores.bannedUntil(id, time.Now()).IsZero()
}

// expel makes Run disconnect a peer. When too many wait, Run looks at all of them.
func (n *Node) expel(id peer.ID) {
	select {
	case n.expelled <- id:
	default:
	}
}

// police disconnects who was banned, or let its queue fill up, until ctx ends.
func (n *Node) police(ctx context.Context, h host.Host) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-n.expelled:
			_ = h.Network().ClosePeer(id)
			for _, other := range h.Network().Peers() {
				if !n.permitted(other) {
					_ = h.Network().ClosePeer(other)
				}
			}
		}
	}
}

// Stats counts what was done about peers since start.
type Stats struct {
	Offences   map[string]uint64 // by reason
	Bans       uint64
	Banned     int    // now
	Dropped    uint64 // gossip above a peer's rate
	SlowPeers  uint64 // disconnected because their queue was full
	Crowded    uint64 // gossip for which there was no room among what waits to be checked
	QueueBytes int64  // waiting to be sent
	Unchecked  int64  // bytes that wait to be checked
	Windows    int64  // bytes of receive windows
	Rescues    uint64 // searches for peers when none of the chain was left
}

// Stats returns the counters.
func (n *Node) Stats() Stats {
	s := Stats{
		Offences: make(map[string]uint64, reasons), Banned: len(n.scores.banned(time.Now())),
		Dropped: n.rates.dropped.Load(), SlowPeers: n.queues.full.Load(), QueueBytes: n.queues.total(), Rescues: n.rescues.Load(),
		Crowded: n.unchecked.dropped.Load(), Unchecked: n.unchecked.size(), Windows: n.windows(),
	}
	n.scores.mu.Lock()
	defer n.scores.mu.Unlock()
	s.Bans = n.scores.bans
	for r, c := range n.scores.counts {
		if c > 0 {
			s.Offences[Reason(r).String()] = c
		}
	}
	return s
}
