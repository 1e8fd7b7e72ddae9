package app

import (
	"fmt"
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/rpc"
)

// blame makes peers pay for what an exchange finds wrong with them.
func blame(n *p2p.Node) func(peer.ID, exchange.Fault, error) {
	return func(id peer.ID, f exchange.Fault, err error) { n.Penalise(id, reasonOf(f), err.Error()) }
}

func reasonOf(f exchange.Fault) p2p.Reason {
	switch f {
	case exchange.FaultRelayed:
		return p2p.Relayed
	case exchange.FaultMismatch:
		return p2p.Mismatch
	case exchange.FaultUnproven:
		return p2p.Unproven
	case exchange.FaultStalled:
		return p2p.Stalled
	case exchange.FaultRepeated:
		return p2p.Repeated
	default:
		return p2p.Invalid
	}
}

// peers is the P2P side of the node as operators see it.
type peers struct {
	node    *p2p.Node
	banTime time.Duration
}

// PeerList implements rpc.Peers.
func (p peers) PeerList() rpc.PeerList {
	out := rpc.PeerList{Peers: []rpc.PeerDetails{}, Bans: []rpc.PeerBan{}}
	for _, one := range p.node.Peers() {
		const tenths = 10
		d := rpc.PeerDetails{
			ID: one.ID.String(), Address: one.Address.String(), Direction: one.Direction.String(), Agent: one.Agent, Since: one.Since,
			Static: one.Static, Chain: one.Chain, Score: math.Round(one.Score*tenths) / tenths, Offences: one.Offences,
		}
		out.Peers = append(out.Peers, d)
	}
	for _, one := range p.node.Bans() {
		out.Bans = append(out.Bans, rpc.PeerBan{
			ID: one.ID.String(), Until: one.Until, Reason: one.Reason.String(), Detail: one.Detail, Static: one.Static,
		})
	}
	return out
}

// BanPeer implements rpc.Peers.
func (p peers) BanPeer(text string, d time.Duration) error {
	id, err := peerID(text)
	if err != nil {
		return err
	}
	if d == 0 {
		d = p.banTime
	}
	return p.node.Ban(id, d, "by the operator") //nolint:wrapcheck // names the peer
}

// UnbanPeer implements rpc.Peers.
func (p peers) UnbanPeer(text string) error {
	id, err := peerID(text)
	if err != nil {
		return err
	}
	if !p.node.Unban(id) {
		return fmt.Errorf("%s is not banned", id)
	}
	return nil
}

func peerID(text string) (peer.ID, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return "", fmt.Errorf("%q is no peer id like 12D3KooW…: %w", text, err)
	}
	return id, nil
}
