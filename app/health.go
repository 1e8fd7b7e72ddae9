package app

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry/problems"
)

const (
	// readyLag is how many blocks behind the best known head a node still
	// counts as ready.
	readyLag = 15
	// readyDALag is the same in DA blocks, for nodes that DA alone feeds.
	readyDALag = 5
	// readyStall is how long a node that counts as ready may know of a block and
	// not get it applied.
	readyStall = 30 * time.Second
)

// waits is what the parts of a node wait for.
type waits struct {
	Replay   string // of the executor, at start
	Producer string
	Lanes    []sequencer.LaneStats
	Syncer   syncer.Stats
	Worker   daworker.Status
	Lies     uint64 // bad headers that peers sent
}

// waitingFor names the one reason for no progress, the most certain first: a decision
// to wait, since what parts report beside it follows from it. It is empty when the
// node has all there is, and while it moves.
func waitingFor(s rpc.Status, w waits) string {
	if i := slices.IndexFunc(s.Problems, waitsOnPurpose); i >= 0 {
		return s.Problems[i].Reason
	}
	if reason := blockedOn(s, w); reason != "" || len(s.Problems) == 0 {
		return reason
	}
	return s.Problems[0].Reason
}

// blockedOn is waitingFor as the parts on a block's path report it.
func blockedOn(s rpc.Status, w waits) string {
	switch {
	case w.Replay != "":
		return w.Replay
	case s.Sequencer != nil:
		return w.sequencer()
	case w.Syncer.Failure != "":
		return w.Syncer.WaitingFor + ", " + w.Syncer.Failure
	case s.Lag.Blocks > 0:
		return w.gap(noSource(s))
	}
	if reason := noSource(s); reason != "" {
		return "a source of blocks: " + reason
	}
	switch {
	case w.Worker.WaitingFor != "":
		return w.Worker.WaitingFor
	case daBehind(s.DA) > readyDALag:
		return fmt.Sprintf("DA heights %d to %d to be read", s.DA.Cursor, s.DA.Head)
	case s.DA.Error != "" && s.Lag.Final > 0:
		return "DA, to make blocks final: " + s.DA.Error
	case s.Heads.Applied == 0 && len(s.Problems) == 0:
		return w.first()
	}
	return ""
}

// first is what a node lacks that never had a block though its sources answer.
// Items of another proposer are the mark of a genesis file that is not the
// chain's; only a person can tell, for everybody may post and send such items.
func (w waits) first() string {
	const wrongGenesis = "the first block: %s of another proposer, is the genesis file that of the chain?"
	if n := w.Worker.Stats.JunkByReason["proposer"]; n > 0 {
		return fmt.Sprintf(wrongGenesis, fmt.Sprintf("DA holds %d items", n))
	}
	if w.Lies > 0 {
		return fmt.Sprintf(wrongGenesis, "peers send headers")
	}
	return "the first block"
}

// sequencer is what block production waits for, else what keeps blocks from DA.
func (w waits) sequencer() string {
	if w.Producer != "" {
		return w.Producer
	}
	for _, lane := range w.Lanes {
		if lane.Held != "" {
			return lane.Held
		}
	}
	return ""
}

// gap is what a node lacks that knows of higher blocks than it has.
func (w waits) gap(noSource string) string {
	reason := w.Syncer.WaitingFor
	switch {
	case reason == "":
		return "" // it moves
	case w.Worker.WaitingFor != "":
		reason = w.Worker.WaitingFor
	}
	if noSource != "" {
		reason += ", " + noSource
	}
	return reason
}

// noSource says why neither source can bring blocks now; empty when one can.
func noSource(s rpc.Status) string {
	if s.P2P.ChainPeers > 0 || s.DA.Enabled && s.DA.Error == "" && !s.DA.LastOK.IsZero() {
		return ""
	}
	peers := "no peers"
	switch {
	case !s.P2P.Enabled:
		peers = "P2P is off"
	case s.P2P.Peers > 0:
		peers = fmt.Sprintf("none of %d peers is of this chain", s.P2P.Peers)
	}
	switch {
	case !s.DA.Enabled:
		return peers + ", and DA is not configured"
	case s.DA.Error != "":
		return peers + ", and DA fails: " + s.DA.Error
	default:
		return peers + ", and DA has not answered yet"
	}
}

// daBehind is how many DA blocks are still to be read.
func daBehind(d rpc.DA) uint64 {
	if !d.Enabled || d.Cursor > d.Head {
		return 0
	}
	return d.Head + 1 - d.Cursor
}

// ready decides whether others may rely on a node: it follows at least one
// source and is near its head. A chain that makes no blocks stays ready. stalled
// is for how long the next block was known of and not applied.
func ready(s rpc.Status, stalled time.Duration) rpc.Readiness {
	q := s.Sequencer
	unready := slices.IndexFunc(s.Problems, func(p rpc.Problem) bool { return p.Unready })
	switch {
	case unready >= 0:
		return notReady("%s", s.Problems[unready].Reason)
	case s.Replay != nil:
		return notReady("replaying blocks the executor lacks: block %d of %d", s.Replay.At, s.Replay.To)
	case s.Heads.Applied == 0:
		return notReady("no block applied yet%s", because(s.WaitingFor))
	case s.Lag.Blocks > readyLag:
		return notReady("catching up: block %d of %d%s", s.Heads.Applied, s.Heads.Applied+s.Lag.Blocks, because(s.WaitingFor))
	case stalled > readyStall:
		return notReady("block %d is known but was not applied for %s%s", s.Heads.Applied+1, stalled.Round(time.Second), because(s.WaitingFor))
	case q != nil && q.Paused:
		return notReady("production is paused: %d headers and %d data items wait for DA", q.PendingHeaders, q.PendingData)
	case q != nil && q.Late && q.Error != "":
		return notReady("no block was made for too long: %s", q.Error)
	case q != nil && q.Late:
		return notReady("no block was made for too long%s", because(s.WaitingFor))
	case q != nil:
		return rpc.Readiness{Ready: true}
	}
	if reason := noSource(s); reason != "" {
		return notReady("no source of blocks: %s", reason)
	}
	if s.P2P.ChainPeers == 0 && daBehind(s.DA) > readyDALag {
		return notReady("catching up on DA: height %d of %d", s.DA.Cursor, s.DA.Head)
	}
	return rpc.Readiness{Ready: true}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", waiting for " + reason
}

func notReady(format string, args ...any) rpc.Readiness {
	return rpc.Readiness{Reason: fmt.Sprintf(format, args...)}
}

// late reports whether blocks should have been made since last, with room for
// a slow disk and a busy machine.
func late(c sequencer.Config, last, now time.Time) bool {
	const missed, missedLazy, least = 5, 2, 5 * time.Second
	most := missed * c.BlockTime
	if c.Lazy {
		most = max(most, missedLazy*c.LazyInterval)
	}
	return now.Sub(last) > max(most, least)
}

// loop is a part that everything else depends on.
type loop struct {
	part  string
	name  string
	busy  time.Duration // with one piece of work
	limit time.Duration
}

// serviced returns an error that names the first loop that is stuck.
func serviced(loops []loop) error {
	for _, l := range loops {
		if l.busy > l.limit {
			return fmt.Errorf("%s has been at one piece of work for %s, more than %s: it hangs", l.name, l.busy.Round(time.Second), l.limit)
		}
	}
	return nil
}

// waitsOnPurpose reports whether a problem means that the node has decided to apply no
// blocks: it waits for its clock, for DA's word on a refuted block, for a forced
// transaction. To start it again, which is what follows from a failed liveness, does
// not help.
func waitsOnPurpose(p rpc.Problem) bool {
	kind := problems.Kind(p.Kind)
	return p.Unready && (kind == problems.Clock || kind == problems.Refuted || kind == problems.Forced)
}

// live decides whether a node still does its work. stalled is for how long the
// stores held the next block and it was not applied.
func live(s syncer.Stats, stalled, limit time.Duration) error {
	if stalled <= limit {
		return nil
	}
	reason := s.Failure
	if reason == "" {
		reason = "nothing failed, a part of the node hangs"
	}
	return fmt.Errorf("block %d is stored but was not applied for %s: %s", s.Next, stalled.Round(time.Second), reason)
}

// replayText says what is waited for during a replay; nothing when there is none.
func replayText(r *pipeline.Replay) string {
	if r == nil {
		return ""
	}
	return "the executor, which is given again what it lacks: " + r.String()
}

// stall measures for how long a height is waited for, from look to look: work
// that arrives after a quiet hour is not an hour late.
type stall struct {
	mu     sync.Mutex
	height uint64 // 0 when nothing is waited for
	since  time.Time
}

func (s *stall) of(waits bool, height uint64, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !waits:
		s.height = 0
		return 0
	case s.height != height:
		s.height, s.since = height, now
	}
	return now.Sub(s.since)
}
