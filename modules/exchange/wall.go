package exchange

import (
	"bytes"
	"sync"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// wall is the height from which on nothing is fetched for now: the proposer of
// a header there is one the state has not named, and may name once the blocks
// before it are applied. It gives way after a while even so, since whoever sent
// that header may have made it up.
type wall struct {
	mu       sync.Mutex
	height   uint64 // 0: none
	proposer []byte
	until    time.Time
}

func (w *wall) set(height uint64, proposer []byte, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.height == 0 || height <= w.height {
		w.height, w.proposer, w.until = height, bytes.Clone(proposer), until
	}
}

// cut returns the height up to which, exclusively, may be fetched.
func (w *wall) cut(to uint64, ps Proposers, now time.Time) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.height == 0 || w.over(ps, now) {
		w.height = 0
		return to
	}
	return min(to, w.height)
}

func (w *wall) over(ps Proposers, now time.Time) bool {
	return !now.Before(w.until) || ps.Judge(w.height, w.proposer) != block.Unproven
}

// opens returns a channel that is closed when the wall may be gone, and when it
// gives way at the latest.
func (w *wall) opens(ps Proposers, now time.Time) (<-chan struct{}, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.height == 0 {
		return nil, time.Time{}
	}
	changed := ps.Changed() // before the look, so that no change is missed
	if w.over(ps, now) {
		w.height = 0
		return nil, now
	}
	return changed, w.until
}
