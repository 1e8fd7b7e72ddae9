package exchange

import (
	"sync"
	"sync/atomic"
	"time"
)

// Status is what an exchange is doing, for people.
type Status struct {
	Head         uint64    // highest contiguous height in the store
	Target       uint64    // highest height it knows of
	Peers        int       // connected peers that speak the protocol
	InFlight     int       // range requests under way
	QueuedBytes  int64     // fetched or being read, not yet appended
	Parked       int       // gossiped items ahead of their turn
	ParkedBytes  int64     // their size
	WaitingBytes int64     // gossip in quarantine: its header is not there
	CheckedBytes int64     // gossip under check
	ServingBytes int64     // answers under way
	LastErr      string    // what went wrong last; empty when nothing is open
	LastProgress time.Time // when it last appended something; zero before
}

// Stats counts what happened since start.
type Stats struct {
	Gossip      map[string]uint64 // verdicts on gossip, by verdict and reason
	Broadcasts  uint64            // items published by this node
	Appended    uint64            // items this exchange appended
	Requests    uint64            // range and head requests sent
	Failures    uint64            // of them, without a usable answer
	NotFound    uint64            // of them, answered with not found
	Lies        uint64            // bad items sent by peers
	Conflicts   uint64            // conflicts reported
	Fetched     uint64            // items received in ranges
	FetchedSize uint64            // their bytes
	Synthesised uint64            // empty data made from headers
	Served      uint64            // requests answered
	ServedItems uint64            // items in the answers
	ServedSize  uint64            // their bytes
	Refused     uint64            // requests reset
	Wakeups     uint64            // rounds of the sync loop
	Faults      map[string]uint64 // of peers, by kind
	GaveWay     uint64            // gossip that gave way in the quarantine
}

// status is the part of Status that is not read from elsewhere.
type status struct {
	mu       sync.Mutex
	lastErr  string
	progress time.Time
	inFlight atomic.Int64
	queued   atomic.Int64 // bytes fetched, not yet appended
	reading  atomic.Int64 // bytes of answers under way
}

func (s *status) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = err.Error()
}

func (s *status) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = ""
}

func (s *status) progressed(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = at
}

// verdict is the outcome of one gossiped message.
type verdict uint8

const (
	acceptNew verdict = iota
	acceptKnown
	acceptAhead
	ignoreBusy
	ignoreStopped
	ignoreFar
	ignoreAhead
	ignoreCrowded
	ignoreOld
	ignoreFuture
	ignoreUnproven
	ignoreRefuted
	ignoreForm
	ignoreAgain
	ignoreHint
	ignoreNoHeader
	ignoreConflict
	ignoreFork
	ignoreStore
	rejectDecode
	rejectInvalid
	rejectLink
	verdicts
)

// String returns the verdict as it appears in metrics.
func (v verdict) String() string {
	return [verdicts]string{
		"accept_new", "accept_known", "accept_ahead", "ignore_busy", "ignore_stopped", "ignore_far", "ignore_ahead",
		"ignore_crowded", "ignore_old",
		"ignore_future", "ignore_unproven", "ignore_refuted", "ignore_form", "ignore_again", "ignore_hint", "ignore_no_header", "ignore_conflict",
		"ignore_fork", "ignore_store",
		"reject_decode", "reject_invalid", "reject_link",
	}[v]
}

type counters struct {
	gossip                                  [verdicts]atomic.Uint64
	broadcasts, appended                    atomic.Uint64
	requests, failures, notFound, lies      atomic.Uint64
	conflicts, fetched, fetchedSize, synth  atomic.Uint64
	served, servedItems, servedSize, refuse atomic.Uint64
	wakeups                                 atomic.Uint64
	faults                                  [faults]atomic.Uint64
}

// Status returns a snapshot.
func (e *Exchange[H]) Status() Status {
	s := Status{
		Head: e.store.Height(), Peers: e.peers.count(),
		InFlight: int(e.status.inFlight.Load()), QueuedBytes: e.status.queued.Load() + e.status.reading.Load(),
		WaitingBytes: e.quarantine.size(), CheckedBytes: e.gossip.size(), ServingBytes: e.serving.size(),
	}
	s.Target = max(s.Head, e.goal())
	e.status.mu.Lock()
	s.LastErr, s.LastProgress = e.status.lastErr, e.status.progress
	e.status.mu.Unlock()
	s.Parked, s.ParkedBytes = e.park.size()
	return s
}

// Stats returns the counters.
func (e *Exchange[H]) Stats() Stats {
	c := &e.counts
	s := Stats{
		Gossip:     make(map[string]uint64, verdicts),
		Broadcasts: c.broadcasts.Load(), Appended: c.appended.Load(),
		Requests: c.requests.Load(), Failures: c.failures.Load(), NotFound: c.notFound.Load(), Lies: c.lies.Load(),
		Conflicts: c.conflicts.Load(), Fetched: c.fetched.Load(), FetchedSize: c.fetchedSize.Load(), Synthesised: c.synth.Load(),
		Served: c.served.Load(), ServedItems: c.servedItems.Load(), ServedSize: c.servedSize.Load(), Refused: c.refuse.Load(),
		Wakeups: c.wakeups.Load(), GaveWay: e.quarantine.evicted.Load(), Faults: make(map[string]uint64, faults),
	}
	for f := range faults {
		if n := c.faults[f].Load(); n > 0 {
			s.Faults[f.String()] = n
		}
	}
	for v := range verdicts {
		if n := c.gossip[v].Load(); n > 0 {
			s.Gossip[v.String()] = n
		}
	}
	return s
}
