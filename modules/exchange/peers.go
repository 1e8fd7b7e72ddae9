package exchange

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// source is a connected peer that speaks the protocol.
type source struct {
	id     peer.ID
	flying int       // requests under way
	limit  int       // most requests at once: grows by success, halves by failure
	fails  int       // in a row
	heard  time.Time // when anything came from it last
	known  uint64    // highest height it showed
	speed  float64   // bytes per second of its answers, lately; 0 before the first
	rest   time.Time // not asked before
	// lacks and lacksUntil remember what it said it does not have.
	lacks      uint64
	lacksUntil time.Time
	misses     int // such answers in a row
	// refuted and refutedUntil say that what it has at a height was refuted here.
	refuted      uint64
	refutedUntil time.Time

	asked   bool      // a head request is under way or was answered
	told    bool      // it has answered one
	tries   int       // head requests that failed
	doubts  int       // claims it could not keep, in a row
	askNext time.Time // when to ask for its head again
}

// peerSet is the connected peers that speak the protocol.
type peerSet struct {
	mu  sync.Mutex
	set map[peer.ID]*source
	cfg Config
	// held returns until when a peer is not to be asked for a height; may be nil.
	held func(p peer.ID, height uint64, now time.Time) time.Time
}

// A new peer starts with this many requests at once.
const firstLimit = 4

func (ps *peerSet) init(cfg Config) {
	ps.set = make(map[peer.ID]*source)
	ps.cfg = cfg
}

func (ps *peerSet) count() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.set)
}

// add reports whether the peer is new.
func (ps *peerSet) add(id peer.ID) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if _, ok := ps.set[id]; ok {
		return false
	}
	ps.set[id] = &source{id: id, limit: min(firstLimit, ps.cfg.InFlight), heard: time.Now()}
	return true
}

func (ps *peerSet) remove(id peer.ID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.set, id)
}

// has notes that a peer sent an item by gossip: it may have what it lacked.
func (ps *peerSet) has(id peer.ID, height uint64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.set[id]
	if !ok {
		return
	}
	s.heard = time.Now()
	s.known = max(s.known, height)
	if height >= s.lacks {
		s.lacksUntil, s.misses = time.Time{}, 0
	}
}

// pick returns a peer to ask for a height, not last if there is another, and
// counts the request. Otherwise it returns when to try again: zero when only a
// new peer or the end of a request can help.
func (ps *peerSet) pick(height uint64, last peer.ID, now time.Time) (id peer.ID, at time.Time, ok bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var best *source
	for _, s := range ps.set {
		until := ps.until(s, height, now)
		switch {
		case until.After(now):
			at = earlier(at, until)
		case s.flying >= s.limit:
		case best == nil || s.before(best, height, last, now):
			best = s
		}
	}
	if best == nil {
		return "", at, false
	}
	best.flying++
	return best.id, time.Time{}, true
}

// until returns when a peer may be asked for a height. The caller holds mu.
func (ps *peerSet) until(s *source, height uint64, now time.Time) time.Time {
	at := s.rest
	if height >= s.lacks && s.lacksUntil.After(at) {
		at = s.lacksUntil
	}
	if height == s.refuted && s.refutedUntil.After(at) {
		at = s.refutedUntil
	}
	if ps.held != nil {
		if held := ps.held(s.id, height, now); held.After(at) {
			at = held
		}
	}
	return at
}

// before reports whether a peer is a better choice than another: with fewer failures
// in a row, heard lately, not the one asked last, known to have the height, less busy in proportion.
func (s *source) before(o *source, height uint64, last peer.ID, now time.Time) bool {
	switch {
	case s.fails != o.fails:
		return s.fails < o.fails
	case s.silent(now) != o.silent(now):
		return o.silent(now)
	case (s.id == last) != (o.id == last):
		return o.id == last
	case (s.known >= height) != (o.known >= height):
		return s.known >= height
	}
	return s.flying*o.limit < o.flying*s.limit
}

// failing returns how many requests in a row a peer has failed.
func (ps *peerSet) failing(id peer.ID) int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s, ok := ps.set[id]; ok {
		return s.fails
	}
	return 0
}

// silentAfter is when a peer counts as silent. A dead one stays connected until
// the transport notices, for half a minute, and a request to it takes all of
// RequestTimeout; so those who were heard lately are asked first. On an idle chain
// all are silent, and equal.
const silentAfter = 2 * time.Second

func (s *source) silent(now time.Time) bool { return now.Sub(s.heard) > silentAfter }

// done notes the outcome of a request.
func (ps *peerSet) done(id peer.ID, o outcome, height uint64, now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.set[id]
	if !ok {
		return
	}
	s.flying = max(s.flying-1, 0)
	if o != outcomeFailed && o != outcomeDropped {
		s.heard = now
	}
	switch o {
	case outcomeGood:
		s.limit = min(s.limit+1, ps.cfg.InFlight)
		s.fails, s.misses, s.doubts = 0, 0, 0
		s.rest = time.Time{}
	case outcomeMissing:
		s.lacks, s.lacksUntil = height, now.Add(backOff(ps.cfg.RetryMin, ps.cfg.RetryMax, s.misses))
		s.misses++
	case outcomeFailed:
		s.limit = max(s.limit/2, 1)
		s.rest = now.Add(backOff(ps.cfg.RetryMin, ps.cfg.RetryMax, s.fails))
		s.fails++
	case outcomeLie:
		s.limit = 1
		s.rest = now.Add(backOff(lieFactor*ps.cfg.RetryMin, lieFactor*ps.cfg.RetryMax, s.fails))
		s.fails++
	case outcomeRefuted:
		s.refuted, s.refutedUntil = height, now.Add(refutedRest)
	case outcomeDropped:
	}
}

// refutedRest is for how long a peer is not asked again for a height at which it has
// a header that execution refutes. It may come to have another one.
const refutedRest = time.Minute

// refutedAt keeps a peer from being asked for a height at which it has what
// execution refutes.
func (ps *peerSet) refutedAt(id peer.ID, height uint64, now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s, ok := ps.set[id]; ok {
		s.refuted, s.refutedUntil = height, now.Add(refutedRest)
	}
}

// rest keeps a peer from being asked after it lied.
func (ps *peerSet) rest(id peer.ID, now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s, ok := ps.set[id]; ok {
		s.rest = now.Add(backOff(lieFactor*ps.cfg.RetryMin, lieFactor*ps.cfg.RetryMax, s.fails))
		s.fails++
	}
}

// A peer that lied rests this many times longer than one that failed.
const lieFactor = 10

// outcome is how a request went, as far as the peer is concerned.
type outcome uint8

const (
	outcomeGood outcome = iota
	outcomeMissing
	outcomeFailed
	outcomeLie
	outcomeRefuted // an honest answer that execution here refutes
	outcomeDropped // by ourselves
)

// unasked returns the peers whose head is to be asked for now, marking them as
// asked, and when the next one is due; zero when none is.
func (ps *peerSet) unasked(now time.Time) (due []peer.ID, at time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, s := range ps.set {
		switch {
		case s.asked:
		case s.askNext.After(now):
			at = earlier(at, s.askNext)
		default:
			s.asked = true
			due = append(due, s.id)
		}
	}
	return due, at
}

// answered notes that a peer has told its head.
func (ps *peerSet) answered(id peer.ID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s, ok := ps.set[id]; ok {
		s.told = true
	}
}

// told returns the peers that have told their head.
func (ps *peerSet) told() []peer.ID {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var out []peer.ID
	for id, s := range ps.set {
		if s.told {
			out = append(out, id)
		}
	}
	return out
}

// some returns up to n peers that may be asked now, others each time.
func (ps *peerSet) some(now time.Time, n int) (out []peer.ID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, s := range ps.set { // in random order
		if len(out) < n && !s.rest.After(now) {
			out = append(out, id)
		}
	}
	return out
}

// unheard notes that a head request failed. After some time the peer is taken
// to have none; gossip tells when that changes.
func (ps *peerSet) unheard(id peer.ID, now time.Time) {
	const most = 10
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.set[id]
	if !ok || s.tries >= most {
		return
	}
	s.asked = false
	s.askNext = now.Add(backOff(ps.cfg.RetryMin, ps.cfg.RetryMax, s.tries))
	s.tries++
}

// doubt makes a peer's head be asked for again after a while: its claim is gone, and
// it may have said so in error, or be the only one there is.
func (ps *peerSet) doubt(id peer.ID, now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.set[id]
	if !ok {
		return
	}
	s.asked = false
	s.askNext = now.Add(backOff(lieFactor*ps.cfg.RetryMin, lieFactor*ps.cfg.RetryMax, s.doubts))
	s.doubts++
}

// backOff doubles from least to most.
func backOff(least, most time.Duration, n int) time.Duration {
	for ; n > 0 && least < most; n-- {
		least *= 2
	}
	return min(least, most)
}

// earlier returns the earlier of two times, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
