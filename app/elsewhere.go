package app

import (
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/sequencer"
)

// elsewhere is where blocks of the chain may lie that the store does not have,
// as a sequencer asks before it makes the first one.
type elsewhere struct {
	worker  *daworker.Worker
	peers   *exchange.Exchange[*block.SignedHeader]
	headers Headers
	static  []peer.ID
	alone   bool // without peers
}

func newElsewhere(c p2p.Config, n *p2p.Node, w *daworker.Worker, ex *exchange.Exchange[*block.SignedHeader], h Headers) sequencer.Elsewhere {
	e := elsewhere{worker: w, peers: ex, headers: h, alone: c.Disabled}
	e.static = slices.DeleteFunc(n.Static(), func(id peer.ID) bool { return id == n.ID() })
	return e
}

// OnDA implements sequencer.Elsewhere.
func (e elsewhere) OnDA() string { return unreadDA(e.worker.Status()) }

func unreadDA(s daworker.Status) string {
	const what = "DA to be read, where the chain may have blocks already"
	switch {
	case s.Phase == daworker.PhaseDisabled:
		return ""
	case s.LastErr != "":
		return what + ": " + s.LastErr
	case s.Phase == daworker.PhaseStarting:
		return what
	case s.Phase != daworker.PhaseHead || s.Cursor <= s.Head.Height:
		return fmt.Sprintf("%s: at DA height %d of %d", what, s.Cursor, s.Head.Height)
	case s.Pending.Headers > 0:
		return fmt.Sprintf("%s: what comes before %d headers found there", what, s.Pending.Headers)
	}
	return ""
}

// AtPeers implements sequencer.Elsewhere. When the chain has blocks and there is
// no static peer, any peer will do.
func (e elsewhere) AtPeers() string {
	if e.alone {
		return ""
	}
	told := e.peers.Told()
	missing := 0
	for _, id := range e.static {
		if !slices.Contains(told, id) {
			missing++
		}
	}
	switch {
	case missing > 0:
		return fmt.Sprintf("%d of %d static peers to tell what they have of the chain", missing, len(e.static))
	case len(told) == 0 && e.headers.Height() > 0:
		return "a peer to tell what it has of the chain"
	}
	return ""
}
