package daworker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// Hint is a peer's word for where a header lies on DA.
type Hint struct {
	Height   uint64
	Header   block.Hash
	DAHeight uint64
	From     string // who gave it; for Params.Blame
}

// What hints may cost. They are of use when the data of a stored header is to be
// had from nobody but DA, and the cursor is far from where it lies: behind, or in
// front of a height that cannot be read.
const (
	// maxHints bounds the hints kept, in items of about hintSize bytes; the highest
	// block heights give way. maxLiars bounds the peers whose hints are not taken.
	maxHints, hintSize, maxLiars = 1024, 256, 256
	// hintPatience is how long data may be on its way from peers.
	hintPatience = 2 * time.Second
	// hintNear is how many DA heights ahead the cursor is there soon by itself.
	hintNear = 16
	// hintReach is how far from its header data is looked for.
	hintReach = 2
	// hintBurst is how many heights are read before the scan goes on.
	hintBurst = 16
	// hintPause is the wait after a hint that was no use, doubled up to hintPauseMost.
	hintPause, hintPauseMost = time.Second, 2 * time.Minute
)

var errUseless = errors.New("da hint is wrong: the header is not there")

// hints are what peers told. Hint may be called from many goroutines.
type hints struct {
	mu       sync.Mutex
	byHeight map[uint64]Hint
	highest  uint64
	swept    uint64 // forgotten up to here
	liars    map[string]struct{}
}

// Hint takes a peer's word for where a header is on DA. It never blocks. The
// header's signature must have been checked. What is believed of it is that it
// may be worth one look: it moves no cursor and makes nothing final.
func (w *Worker) Hint(h Hint) {
	if w.p.HeadersOnly || h.DAHeight == 0 {
		return
	}
	s, stored := &w.hints, w.p.Data.Height()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, lied := s.liars[h.From]; lied || h.Height <= stored {
		return
	}
	if s.byHeight == nil {
		s.byHeight, s.liars = make(map[uint64]Hint), make(map[string]struct{})
	}
	if _, ok := s.byHeight[h.Height]; ok {
		return
	}
	if len(s.byHeight) >= maxHints && stored > s.swept {
		s.forget(stored)
	}
	if len(s.byHeight) >= maxHints {
		if h.Height >= s.highest {
			return
		}
		delete(s.byHeight, s.highest)
		s.highest = 0
		for height := range s.byHeight {
			s.highest = max(s.highest, height)
		}
	}
	s.byHeight[h.Height] = h
	s.highest = max(s.highest, h.Height)
}

// of returns the hint for a header.
func (s *hints) of(h *block.SignedHeader) (Hint, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hint, ok := s.byHeight[h.Height()]
	return hint, ok && hint.Header == h.Digest()
}

// upTo forgets what is stored.
func (s *hints) upTo(height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(height)
}

// forget is upTo for who holds the lock.
func (s *hints) forget(height uint64) {
	s.swept = height
	for h := range s.byHeight {
		if h <= height {
			delete(s.byHeight, h)
		}
	}
	if len(s.byHeight) == 0 {
		s.highest = 0
	}
}

func (s *hints) drop(h Hint, lied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byHeight, h.Height)
	if !lied {
		return
	}
	if len(s.liars) >= maxLiars {
		clear(s.liars) // they may try once more
	}
	s.liars[h.From] = struct{}{}
	for height, other := range s.byHeight {
		if other.From == h.From {
			delete(s.byHeight, height)
		}
	}
}

func (s *hints) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byHeight)
}

// seeker reads where hints point to. It belongs to the Run goroutine.
type seeker struct {
	height  uint64    // whose data is missing
	since   time.Time // since when
	useful  uint64    // the height before came by a hint: no patience is needed
	useless int       // hints in a row
	after   time.Time // no look before
}

// hintDue returns when the next look is worth it, zero for never.
func (r *reader) hintDue(now time.Time) (Hint, time.Time) {
	m, s := r.asm.missing, &r.seek
	if m == nil || m.Height() <= r.p.Data.Height() {
		s.height = 0
		return Hint{}, time.Time{}
	}
	if m.Height() != s.height {
		s.height, s.since = m.Height(), now
	}
	hint, ok := r.w.hints.of(m)
	if !ok || hint.DAHeight < r.next {
		return Hint{}, time.Time{} // read already, or nobody said
	}
	stuck := r.phase == PhasePruned || r.phase == PhaseFailing
	soon := hint.DAHeight < r.next+hintNear && !stuck ||
		hint.DAHeight > r.head.Height && hint.DAHeight <= r.head.Height+hintNear // the head known here may be a little old
	if soon {
		return Hint{}, time.Time{}
	}
	due := s.since.Add(hintPatience)
	if s.useful+1 == m.Height() {
		due = s.since
	}
	if s.after.After(due) {
		due = s.after
	}
	return hint, due
}

// followHints reads what is missing where peers say that it lies, as long as that
// helps and is due. The cursor stays where it is.
func (r *reader) followHints(ctx context.Context) error {
	for range hintBurst {
		now := time.Now()
		hint, due := r.hintDue(now)
		if due.IsZero() || due.After(now) {
			return nil
		}
		if err := r.follow(ctx, hint); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// follow looks at one hint.
func (r *reader) follow(ctx context.Context, hint Hint) error {
	s, m := &r.seek, r.asm.missing
	near := []uint64{hint.DAHeight}
	for d := uint64(1); d <= hintReach; d++ {
		near = append(near, hint.DAHeight+d, hint.DAHeight-min(d, hint.DAHeight-1))
	}
	for i, at := range near {
		if at > r.head.Height && i > 0 {
			continue
		}
		f, err := r.fetchHinted(ctx, at)
		switch {
		case errors.Is(err, da.ErrFuture), err == nil && i == 0 && !f.holds(m):
			r.mislead(hint)
			return nil
		case err != nil:
			if errors.Is(err, da.ErrPruned) {
				r.w.hints.drop(hint, false)
			}
			r.pause()
			return nil // the scan says what is wrong with the endpoint
		}
		verify([]*found{f})
		r.asm.addHinted(ctx, f)
		if err := r.flush(ctx); err != nil {
			return err
		}
		if r.p.Data.Height() >= m.Height() {
			r.asm.stats.HintsUsed++
			s.useful, s.useless = r.p.Data.Height(), 0
			r.w.hints.upTo(s.useful)
			r.p.Log.Debug("found by a hint", zap.Uint64("height", m.Height()), zap.Uint64("da_height", at))
			return nil
		}
	}
	r.w.hints.drop(hint, false) // true, and of no use: the scan will find the data
	r.pause()
	return nil
}

// fetchHinted reads one DA height, never one above the head.
func (r *reader) fetchHinted(ctx context.Context, at uint64) (*found, error) {
	if at > r.head.Height {
		return nil, fmt.Errorf("da height %d, head %d: %w", at, r.head.Height, da.ErrFuture)
	}
	return r.fetch(ctx, at)
}

// mislead drops a wrong hint and everything else from who gave it.
func (r *reader) mislead(hint Hint) {
	r.asm.stats.HintsUseless++
	r.w.hints.drop(hint, true)
	r.pause()
	r.p.Log.Debug("wrong da hint", zap.Uint64("height", hint.Height), zap.Uint64("da_height", hint.DAHeight), zap.String("peer", hint.From))
	if r.p.Blame != nil {
		r.p.Blame(hint.From, fmt.Errorf("%w: header %d at DA height %d", errUseless, hint.Height, hint.DAHeight))
	}
}

// pause keeps from looking for a while.
func (r *reader) pause() {
	s := &r.seek
	s.after = time.Now().Add(min(hintPause<<min(s.useless, 16), hintPauseMost))
	s.useless++
}

// holds reports whether a header is among what was found.
func (f *found) holds(h *block.SignedHeader) bool {
	for _, list := range [][]*headerItem{f.headers, f.unknown} {
		for _, i := range list {
			if i.header.Height() == h.Height() && i.header.Digest() == h.Digest() {
				return true
			}
		}
	}
	return false
}

// addHinted keeps what was found out of turn: only what the stores can use, and
// without a word to the Sink. The scan will come by and report it.
func (a *assembler) addHinted(ctx context.Context, f *found) {
	for _, i := range f.headers {
		if !i.bad && i.header.Height() > a.p.Headers.Height() {
			i.hinted = true
			a.pending.addHeader(i, false)
		}
	}
	for _, i := range f.data {
		wanted := a.missing != nil && commits(a.missing, i.data.Commitment())
		if i.bad || !wanted && !i.own || !i.verify() {
			continue
		}
		i.hinted = true
		if wanted {
			i.height = a.missing.Height()
		} else if named, _ := a.namedHeader(ctx, i); !named || i.height <= a.p.Data.Height() {
			continue
		}
		a.pending.addData(i, false)
	}
}
