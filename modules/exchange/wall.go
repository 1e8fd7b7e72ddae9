package exchange

import (
	"bytes"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
)

// wall is the height from which on a peer is not asked for now: the proposer of the
// header it sent there is one the state has not named, and may name once the blocks
// before it are applied. It gives way after a while even so, since the peer may have
// made that header up; others are asked meanwhile.
type wall struct {
	peer     peer.ID
	height   uint64
	proposer []byte
	digest   block.Hash
	until    time.Time
}

// walls are those of all peers, one each.
type walls struct {
	mu sync.Mutex
	by map[peer.ID]wall
}

// maxWalls bounds them.
const maxWalls = 1024

func (w *walls) set(p peer.ID, h *block.SignedHeader, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil || len(w.by) >= maxWalls {
		w.by = make(map[peer.ID]wall)
	}
	if old, ok := w.by[p]; ok && old.height < h.Height() && old.until.After(time.Now()) {
		return
	}
	w.by[p] = wall{peer: p, height: h.Height(), proposer: bytes.Clone(h.Header.ProposerAddress), digest: h.Digest(), until: until}
}

// held returns until when a peer is not to be asked for a height; zero when it may be
// asked.
func (w *walls) held(p peer.ID, height uint64, ps Proposers, now time.Time) time.Time {
	w.mu.Lock()
	one, ok := w.by[p]
	w.mu.Unlock()
	if !ok || height < one.height || one.over(ps, now) {
		return time.Time{}
	}
	return one.until
}

func (w wall) over(ps Proposers, now time.Time) bool {
	return !now.Before(w.until) || ps.Judge(w.height, w.proposer) != block.Unproven
}

// opens returns a channel that is closed when a wall may be gone, and when the first
// one gives way at the latest; nil and zero when there is none.
func (w *walls) opens(ps Proposers, now time.Time) (<-chan struct{}, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.by) == 0 {
		return nil, time.Time{}
	}
	changed := ps.Changed() // before the look, so that no change is missed
	var first time.Time
	for _, one := range w.by {
		if !one.over(ps, now) {
			first = earlier(first, one.until)
		}
	}
	if first.IsZero() {
		return nil, first
	}
	return changed, first
}

// passed returns the walls below a height, which are no more: something is stored
// there.
func (w *walls) passed(next uint64) (out []wall) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, one := range w.by {
		if one.height < next {
			out = append(out, one)
			delete(w.by, p)
		}
	}
	return out
}
