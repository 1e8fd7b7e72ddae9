package syncer

import (
	"fmt"
	"sync/atomic"
)

type counters struct {
	wakeups, events, fetches, blocks, failures atomic.Uint64
}

// Stats is a snapshot of what a syncer did and what it is waiting for.
type Stats struct {
	Next uint64 // the height the sink wants
	Head uint64 // the height up to which the stores hold whole blocks

	Wakeups  uint64 // waits that ended by an event or a retry
	Events   uint64 // events received
	Fetches  uint64 // ranges read from the stores
	Blocks   uint64 // blocks applied
	Failures uint64 // attempts that failed and are tried again

	Failure    string // why the last attempt failed; empty when it did not
	WaitingFor string // what would let the sink move on; empty while it moves
}

// Stats returns a snapshot. It may be called at any time.
func (s *Syncer) Stats() Stats {
	st := Stats{
		Next: s.sink.Next(), Head: s.head(),
		Wakeups: s.count.wakeups.Load(), Events: s.count.events.Load(), Fetches: s.count.fetches.Load(),
		Blocks: s.count.blocks.Load(), Failures: s.count.failures.Load(),
	}
	if why := s.failure.Load(); why != nil {
		st.Failure = *why
	}
	st.WaitingFor = s.waitingFor(st)
	return st
}

func (s *Syncer) waitingFor(st Stats) string {
	hasHeader := s.headers.Height() >= st.Next
	hasData := s.data != nil && s.data.Height() >= st.Next
	switch {
	case st.Failure != "":
		return fmt.Sprintf("retry of %d", st.Next)
	case st.Next <= st.Head:
		return ""
	case hasHeader:
		return fmt.Sprintf("data of %d", st.Next)
	case hasData, s.data == nil:
		return fmt.Sprintf("header of %d", st.Next)
	default:
		return fmt.Sprintf("block %d", st.Next)
	}
}
