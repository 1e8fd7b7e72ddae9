package app

import (
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/rpc"
)

// p2pSource tells how far the peers' chain was taken over: both halves of a block,
// where both are followed.
func (m *monitor) p2pSource(p rpc.P2P) rpc.Source {
	h := m.in.HeaderEx.Status()
	held, progress := m.in.Headers.Height(), h.LastProgress
	appended := m.in.HeaderEx.Stats().Appended
	if d := m.in.Extras.DataEx; d != nil {
		s := d.Status()
		held, appended = min(held, m.in.Data.Height()), d.Stats().Appended
		if s.LastProgress.After(progress) {
			progress = s.LastProgress
		}
	}
	s := rpc.Source{
		Head: p.Target, Lag: p.Target - min(p.Target, held), Unit: "blocks", LastProgress: progress, Rate: m.p2pRate.of(appended),
	}
	if s.Lag > 0 {
		s.Seconds = age(m.in.Pipeline.Snapshot().State.LastTime, m.in.Clock())
	}
	s.ETA = eta(s.Lag, s.Rate)
	s.WaitingFor = waitsForPeers(p, s.Lag)
	return s
}

func waitsForPeers(p rpc.P2P, lag uint64) string {
	switch {
	case !p.Enabled:
		return ""
	case p.ChainPeers == 0:
		return "peers of the chain"
	case lag == 0:
		return ""
	}
	return fmt.Sprintf("%d blocks from %d peers", lag, p.ChainPeers)
}

// daSource tells how far DA was read. every is the DA block time.
func daSource(d rpc.DA, chain uint64, w daworker.Status, every time.Duration) rpc.Source {
	s := rpc.Source{Head: chain, Lag: daBehind(d), Unit: "DA heights", LastProgress: w.LastRead, Rate: w.Rate}
	s.Seconds = (time.Duration(s.Lag) * every).Seconds() //nolint:gosec // DA heights stay far below 2^63
	s.ETA = eta(s.Lag, s.Rate)
	switch {
	case !d.Enabled:
	case d.Error != "", d.LastOK.IsZero():
		s.WaitingFor = "an answer"
	case w.WaitingFor != "":
		s.WaitingFor = w.WaitingFor
	case s.Lag > 1: // one is the block that is being read
		s.WaitingFor = fmt.Sprintf("DA heights %d to %d to be read", d.Cursor, d.Head)
	}
	return s
}

// eta is how many seconds are left at a rate; 0 when nothing is, or nothing moves.
func eta(left uint64, perSecond float64) float64 {
	if left == 0 || perSecond <= 0 {
		return 0
	}
	return float64(left) / perSecond
}

// age is how long ago something was, in seconds; 0 for what never was.
func age(at, now time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(now.Sub(at).Seconds(), 0)
}
