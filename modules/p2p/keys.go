package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multistream"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// Own returns the static peers that are the node of an id itself.
func (c Config) Own(id peer.ID) []string {
	var out []string
	for _, text := range c.Peers {
		if info, err := peer.AddrInfoFromString(text); err == nil && info.ID == id {
			out = append(out, text)
		}
	}
	return out
}

// reportOwn names static peers that are this node itself: they are not dialled.
func (n *Node) reportOwn() {
	for _, text := range n.p.Config.Own(n.ID()) {
		n.p.Problems.Report(problems.Problem{Kind: problems.PeerKey, Subject: n.ID().String(), Reason: fmt.Sprintf(
			"p2p.peers: %s is this node itself and is not dialled: remove it, or give this node a key of its own (signer.node_key_file) if it was copied from there", text)})
	}
}

// reportDial names the key that a static peer has instead of the expected one. It
// stands until the peer is connected.
func (n *Node) reportDial(info peer.AddrInfo, err error) {
	var other sec.ErrPeerIDMismatch
	switch {
	case err == nil:
		n.p.Problems.Clear(problems.PeerKey, info.ID.String())
	case !errors.As(err, &other):
	case other.Actual == n.ID():
		n.p.Problems.Report(problems.Problem{Kind: problems.PeerKey, Subject: info.ID.String(), Reason: fmt.Sprintf(
			"p2p.peers: at %s this node reaches itself, and not %s: correct the address", texts(info.Addrs), info.ID)})
	default:
		n.p.Problems.Report(problems.Problem{Kind: problems.PeerKey, Subject: info.ID.String(), Reason: otherKey(info, err).Error()})
	}
}

// Timing of the search for twins.
const (
	pingTimeout = 3 * time.Second
	// twinsAgain is how often peers that were twins are looked at again.
	twinsAgain = 5 * time.Second
)

// watchTwins looks at peers with several connections, until ctx ends: when more than
// one of the same sort is answered, two nodes run with one key. Each takes the other's
// place, so that both hear half of the gossip at best.
func (n *Node) watchTwins(ctx context.Context, h host.Host) {
	known := map[peer.ID]struct{}{}
	again := time.NewTicker(twinsAgain)
	defer again.Stop()
	look := func(id peer.ID) {
		if twins := answering(ctx, h, id); twins != nil {
			known[id] = struct{}{}
			n.p.Problems.Report(problems.Problem{Kind: problems.PeerKey, Subject: id.String(), Reason: fmt.Sprintf(
				"two nodes run with the key of peer %s, at %s and %s: give each a node key of its own (signer.node_key_file)", id, twins[0], twins[1])})
		} else if _, was := known[id]; was {
			delete(known, id)
			n.p.Problems.Clear(problems.PeerKey, id.String())
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-n.doubled:
			if wait(ctx, nil, time.After(settled)) { // the losers of a race between transports have gone
				look(id)
			}
		case <-again.C:
			for id := range known {
				look(id)
			}
		}
	}
}

// answering returns the addresses of two connections of one sort that both answer;
// nil when there are none.
func answering(ctx context.Context, h host.Host, id peer.ID) []string {
	byTransport := map[string][]string{}
	for _, c := range h.Network().ConnsToPeer(id) {
		sort := c.ConnState().Transport
		if c.Stat().Direction != network.DirInbound || !answers(ctx, c) {
			continue
		}
		byTransport[sort] = append(byTransport[sort], c.RemoteMultiaddr().String())
		if len(byTransport[sort]) > 1 {
			return byTransport[sort]
		}
	}
	return nil
}

// answers reports whether there is a node at the other end of a connection.
func answers(ctx context.Context, c network.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return false
	}
	defer func() { _ = s.Reset() }()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	return multistream.SelectProtoOrFail(ping.ID, s) == nil
}
