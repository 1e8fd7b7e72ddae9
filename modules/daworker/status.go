package daworker

import (
	"time"

	"github.com/tandem-node/tandem/modules/da"
)

// Phase says in one word what the worker is doing.
type Phase string

// The phases of the worker.
const (
	PhaseStarting Phase = "starting" // no answer yet
	PhaseDisabled Phase = "disabled" // the node has no DA layer
	PhaseCatchUp  Phase = "catch-up" // reading what is already there
	PhaseHead     Phase = "head"     // everything read, waiting for the next DA block
	PhaseFailing  Phase = "failing"  // the endpoint or a store does not answer; retrying
	PhasePruned   Phase = "pruned"   // the next height is gone from the endpoint
)

// Status is a snapshot of what the worker knows.
type Status struct {
	Phase  Phase
	Timed  da.Head // newest whose time is known, which a stream does not tell
	Head   da.Head // newest DA height the endpoint told of; without a time when its stream did
	Cursor uint64  // next DA height to read
	// Scanned is the DA height below which everything was read and handed over. It
	// stays while lower heights are read again, so that Cursor is at or below it.
	Scanned uint64
	Floor   uint64 // DA height a restart reads from; at most Cursor
	// LastOK is when the endpoint last answered; zero when it never did.
	LastOK time.Time
	// LastRead is when a DA height was handed over last; zero before.
	LastRead time.Time
	// LastErr is the newest failure; empty once the endpoint answers again.
	LastErr string
	// WaitingFor names the one thing the chain waits for here; empty for none.
	WaitingFor string
	Streaming  bool    // the head stream delivers
	Rate       float64 // DA heights handed over per second, lately
	Pending    Pending
	Stats      Stats
}

// Pending tells what is held in memory.
type Pending struct {
	Headers, Data   int // of the proposer and near the stored ones, waiting for what comes before them
	Bytes           int
	Quarantined     int // of others
	QuarantineBytes int // of those no known proposer signed
	UnprovenBytes   int // of those that a proposer signed who may yet be named
	PrefetchBytes   int // read ahead, not handed over yet
	Hints           int // of peers, not looked at
	HintBytes       int // about what they hold
}

// Stats counts since the start of the process.
type Stats struct {
	Polls, Retries        uint64
	Heights, Blobs, Bytes uint64 // read and handed over
	Headers, Data         uint64 // authenticated
	HeadersAppended       uint64
	DataAppended          uint64
	Conflicts             uint64 // headers that differ from a stored one
	WalkBacks             uint64
	HintsUsed             uint64 // hints of peers that brought a block
	HintsUseless          uint64 // that were wrong
	Dropped, Evicted      uint64 // over the pending and over the quarantine budget
	Junk                  uint64 // sum over JunkByReason
	JunkByReason          map[string]uint64
}

// snapshot is what Status is made from.
type snapshot struct {
	Status
	junk junk
}

// meter measures a rate over spans of a few seconds.
type meter struct {
	since time.Time
	count int
	last  float64
}

const meterSpan = 5 * time.Second

func (m *meter) add(n int, now time.Time) {
	if m.since.IsZero() {
		m.since = now
	}
	m.count += n
	if span := now.Sub(m.since); span >= meterSpan {
		m.last = float64(m.count) / span.Seconds()
		m.since, m.count = now, 0
	}
}

// value returns the rate per second, also while the first span is not over.
func (m *meter) value(now time.Time) float64 {
	span := now.Sub(m.since)
	switch {
	case m.since.IsZero():
		return 0
	case span >= meterSpan || m.last == 0 && span > 0:
		return float64(m.count) / span.Seconds()
	}
	return m.last
}
