package daworker

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	// hintsPerHeight bounds those for one height: a wrong one must not keep out the true one.
	hintsPerHeight = 8
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
	byHeight map[uint64][]Hint // at most one of a peer, in the order they came
	held     int
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
		s.byHeight, s.liars = make(map[uint64][]Hint), make(map[string]struct{})
	}
	if !s.fits(h) {
		return
	}
	if s.held >= maxHints && stored > s.swept {
		s.forget(stored)
	}
	if s.held >= maxHints {
		if h.Height >= s.highest {
			return
		}
		s.dropHighest()
	}
	s.byHeight[h.Height] = append(s.byHeight[h.Height], h)
	s.held++
	s.highest = max(s.highest, h.Height)
}

// fits reports whether there is room for a hint at its height: one of each peer and
// of each DA height. Of too many, the one that points highest on DA gives way: those
// above the head are the only ones that are never looked at.
func (s *hints) fits(h Hint) bool {
	list, top := s.byHeight[h.Height], 0
	for i, have := range list {
		if have.From == h.From || have.DAHeight == h.DAHeight && have.Header == h.Header {
			return false
		}
		if have.DAHeight > list[top].DAHeight {
			top = i
		}
	}
	if len(list) < hintsPerHeight {
		return true
	}
	if h.DAHeight >= list[top].DAHeight {
		return false
	}
	s.remove(list[top])
	return true
}

// dropHighest makes room at the highest block height.
func (s *hints) dropHighest() {
	list := s.byHeight[s.highest]
	s.remove(list[len(list)-1])
	if len(list) > 1 {
		return
	}
	s.highest = 0
	for height := range s.byHeight {
		s.highest = max(s.highest, height)
	}
}

// of returns the hints for a header.
func (s *hints) of(h *block.SignedHeader) []Hint {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Hint
	for _, hint := range s.byHeight[h.Height()] {
		if hint.Header == h.Digest() {
			out = append(out, hint)
		}
	}
	return out
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
	for h, list := range s.byHeight {
		if h <= height {
			s.held -= len(list)
			delete(s.byHeight, h)
		}
	}
	if len(s.byHeight) == 0 {
		s.highest = 0
	}
}

func (s *hints) remove(h Hint) {
	list := s.byHeight[h.Height]
	rest := slices.DeleteFunc(slices.Clone(list), func(have Hint) bool { return have == h })
	s.held -= len(list) - len(rest)
	if s.byHeight[h.Height] = rest; len(rest) == 0 {
		delete(s.byHeight, h.Height)
	}
}

func (s *hints) drop(h Hint, lied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(h)
	if !lied {
		return
	}
	if len(s.liars) >= maxLiars {
		clear(s.liars) // they may try once more
	}
	s.liars[h.From] = struct{}{}
	for _, list := range s.byHeight {
		for _, other := range list {
			if other.From == h.From {
				s.remove(other)
			}
		}
	}
}

func (s *hints) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
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
	hint, ok := r.nextHint(m)
	if !ok {
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

// nextHint returns the first hint for a header that can be looked at now. What lies
// above the head cannot, and says nothing of who gave it: the endpoint may be behind.
// What lies a little ahead is read soon anyway. What lies behind the cursor was read,
// and is looked at all the same: DA may have hidden it then.
func (r *reader) nextHint(m *block.SignedHeader) (Hint, bool) {
	stuck := r.phase == PhasePruned || r.phase == PhaseFailing
	for _, hint := range r.w.hints.of(m) {
		soon := hint.DAHeight >= r.next && hint.DAHeight < r.next+hintNear && !stuck
		if hint.DAHeight <= r.head.Height && !soon {
			return hint, true
		}
	}
	return Hint{}, false
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
		if at > r.head.Height {
			continue
		}
		f, err := r.fetch(ctx, at)
		switch {
		case err == nil && i == 0 && !f.holds(m):
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
