package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/sequencer"
)

// elsewhere is where blocks of the chain may lie that the store does not have,
// as a sequencer asks before it signs.
type elsewhere struct {
	worker *daworker.Worker
	peers  *exchange.Exchange[*block.SignedHeader]
	static []peer.ID
	alone  bool // without peers
	apart  bool // what was signed is remembered outside the home
}

func newElsewhere(s Setup, c Config, n *p2p.Node, w *daworker.Worker, ex *exchange.Exchange[*block.SignedHeader]) sequencer.Elsewhere {
	e := elsewhere{worker: w, peers: ex, alone: c.P2P.Disabled, apart: outside(s.Home, c.Signer.StateFile)}
	e.static = slices.DeleteFunc(n.Static(), func(id peer.ID) bool { return id == n.ID() })
	return e
}

// outside reports whether a path leads out of the home.
func outside(home, path string) bool {
	home, err := filepath.Abs(home)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(home, path)
	return err == nil && (rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)))
}

// Answers implements sequencer.Elsewhere.
func (e elsewhere) Answers() sequencer.Answers {
	told := e.peers.Told()
	a := sequencer.Answers{Static: len(e.static), Told: len(told), Alone: e.alone, Apart: e.apart}
	for _, id := range e.static {
		if !slices.Contains(told, id) {
			a.Missing++
		}
	}
	a.DA, a.DAReason = unreadDA(e.worker.Status(), time.Now())
	return a
}

// silentDA is how long DA may fail before it counts as away.
const silentDA = 5 * time.Second

// unreadDA says how far DA was read, and what is still to be read.
func unreadDA(s daworker.Status, now time.Time) (sequencer.DASource, string) {
	const what = "DA to be read, where the chain may have blocks already"
	switch {
	case s.Phase == daworker.PhaseDisabled:
		return sequencer.DANone, ""
	case s.Phase == daworker.PhasePruned:
		return sequencer.DAAway, what + ": " + s.LastErr
	case s.LastErr != "" && now.Sub(s.LastOK) < silentDA:
		return sequencer.DAUnread, what + ": " + s.LastErr
	case s.LastErr != "":
		return sequencer.DAAway, what + ": " + s.LastErr
	case s.Phase == daworker.PhaseStarting:
		return sequencer.DAAway, what
	case s.Phase != daworker.PhaseHead || s.Cursor <= s.Head.Height:
		return sequencer.DAUnread, fmt.Sprintf("%s: at DA height %d of %d", what, s.Cursor, s.Head.Height)
	case s.Pending.Headers > 0:
		return sequencer.DAUnread, fmt.Sprintf("%s: what comes before %d headers found there", what, s.Pending.Headers)
	}
	return sequencer.DARead, ""
}
