package da

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// allowance bounds the answers that are read at once, in bytes. When it is used up
// they wait for one another, but for one that goes on whatever it takes: two that
// are half read would wait for ever.
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

// portion is what one answer takes of an allowance. It belongs to one goroutine.
type portion struct {
	of   *allowance
	held int
}

// take waits until there is room for n bytes more.
func (s *portion) take(ctx context.Context, n int) error {
	for {
		freed, ok := s.try(n)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("wait for room for the answer: %w", ctx.Err())
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
	s.held += n
	return nil, true
}

// release gives everything back.
func (s *portion) release() {
	a := s.of
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held -= s.held
	s.held = 0
	if a.lead == s {
		a.lead = nil
	}
	close(a.freed)
	a.freed = make(chan struct{})
}

// quantum is what is taken at once, so that small answers take once.
const quantum = 64 << 10

// allowed reads an answer as far as its share allows, which it makes larger as it
// goes. Each byte counts twice: as it came, and decoded.
type allowed struct {
	ctx   context.Context //nolint:containedctx // of one call, as io.Reader has none
	from  io.Reader
	share *portion
	left  int // of what was taken
}

// Read implements io.Reader.
func (r *allowed) Read(p []byte) (int, error) {
	if r.left == 0 {
		if err := r.share.take(r.ctx, 2*quantum); err != nil {
			return 0, err
		}
		r.left = quantum
	}
	n, err := r.from.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err //nolint:wrapcheck // io.EOF has to stay
}
