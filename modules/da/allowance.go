package da

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// allowance bounds what the answers of one endpoint that are being read hold, in
// bytes as they lie in memory. When it is used up they wait for one another, but
// for one that goes on whatever it takes: two that are half read would wait for ever.
type allowance struct {
	limit int

	mu    sync.Mutex
	held  int
	lead  *portion      // goes on above the limit; nil when none has to
	freed chan struct{} // closed and replaced when some of it was given back
}

func newAllowance(limit int) *allowance {
	return &allowance{limit: limit, freed: make(chan struct{})}
}

// used returns what is held now, in bytes.
func (a *allowance) used() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}

// quantum is what an answer holds without asking, and by how much it asks for more.
const quantum = 64 << 10

// errRoom means that an answer was given up because others left no room for it in
// time. It says nothing of the endpoint.
var errRoom = errors.New("no room for the answer beside others that are being read")

// portion is what one answer takes of an allowance. It belongs to one goroutine.
type portion struct {
	of   *allowance
	most int // the answer may hold
	// ctx ends with the call; patience bounds each wait for room, and waiting is
	// called around it: nil calls nothing.
	ctx      context.Context //nolint:containedctx // of one call
	patience time.Duration
	waiting  func(bool)

	held  int // by the answer
	taken int // of the allowance, for what is above the first quantum
}

// claim accounts for n bytes more, or less when n is negative. It waits until
// there is room.
func (s *portion) claim(n int) error {
	s.held += n
	switch need := s.held - quantum - s.taken; {
	case n > 0 && s.held > s.most:
		return errLong
	case need > 0:
		return s.take((need + quantum - 1) / quantum * quantum)
	case n < 0 && -need > 2*quantum:
		s.give(min(-need-quantum, s.taken))
	}
	return nil
}

// take waits until there is room for n bytes more.
func (s *portion) take(n int) error {
	freed, ok := s.try(n)
	if ok {
		return nil
	}
	if s.waiting != nil {
		s.waiting(true)
		defer s.waiting(false)
	}
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	for {
		select {
		case <-freed:
		case <-patience.C:
			return fmt.Errorf("%w for %s", errRoom, s.patience)
		case <-s.ctx.Done():
			return fmt.Errorf("wait for room for the answer: %w", s.ctx.Err())
		}
		if freed, ok = s.try(n); ok {
			return nil
		}
	}
}

func (s *portion) try(n int) (freed <-chan struct{}, ok bool) {
	a := s.of
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held+n > a.limit && a.lead == nil {
		a.lead = s
	}
	if a.held+n > a.limit && a.lead != s {
		return a.freed, false
	}
	a.held += n
	s.taken += n
	return nil, true
}

// give returns n bytes.
func (s *portion) give(n int) {
	a := s.of
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held -= n
	s.taken -= n
	close(a.freed)
	a.freed = make(chan struct{})
}

// release gives everything back.
func (s *portion) release() {
	s.of.mu.Lock()
	if s.of.lead == s {
		s.of.lead = nil
	}
	s.of.mu.Unlock()
	s.held = 0
	s.give(s.taken)
}
