package p2p

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxRecords bounds the peers that are remembered, a few hundred bytes each.
// Those with the best score are forgotten first, the banned ones last.
const maxRecords = 4096

// pardoned is the score after a ban: one or two offences bring it back.
const pardoned = BanScore / 2

// scores keeps what peers have done. A score starts at 0, falls by offences and
// comes back by half every so often; at BanScore the peer is banned for a while.
// All of it is forgotten when the process ends.
type scores struct {
	halfLife time.Duration
	banTime  time.Duration

	mu     sync.Mutex
	peers  map[peer.ID]*record
	counts [reasons]uint64 // offences since start
	bans   uint64          // since start
}

// record is what one peer has done.
type record struct {
	score  float64 // as of at, never above 0
	at     time.Time
	until  time.Time // banned until; zero when it is not
	by     Reason    // of the last offence
	detail string
	counts [reasons]uint32
}

func newScores(c Config) *scores {
	return &scores{halfLife: c.ScoreHalfLife, banTime: c.BanTime, peers: make(map[peer.ID]*record)}
}

// offend takes points from a peer and reports whether that banned it.
func (s *scores) offend(id peer.ID, r Reason, detail string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.of(id, now)
	c := r.cost()
	if p.score > c.floor {
		p.score = max(p.score-c.points, c.floor)
	}
	p.by, p.detail = r, short(detail)
	p.counts[r]++
	s.counts[r]++
	if p.score > BanScore || !p.until.IsZero() {
		return false
	}
	p.until = now.Add(s.banTime)
	s.bans++
	return true
}

// ban keeps a peer away until a time, whatever its score.
func (s *scores) ban(id peer.ID, detail string, until, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.of(id, now)
	p.by, p.detail, p.until, p.score = Operator, short(detail), until, BanScore
	p.counts[Operator]++
	s.counts[Operator]++
	s.bans++
}

// pardon ends a ban and forgets what led to it. It is false when there was none.
func (s *scores) pardon(id peer.ID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.peers[id]
	if !ok {
		return false
	}
	banned := p.until.After(now)
	delete(s.peers, id)
	return banned
}

// chance ends the ban of the least bad peer, static ones first; those that the
// operator banned stay. It is false when nobody is left.
func (s *scores) chance(static func(peer.ID) bool, now time.Time) (id peer.ID, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *record
	for p, r := range s.peers {
		s.age(r, now)
		switch {
		case r.until.IsZero() || r.by == Operator:
			continue
		case best == nil:
		case static(p) != static(id):
			if !static(p) {
				continue
			}
		case r.offences() > best.offences(), r.offences() == best.offences() && r.until.After(best.until):
			continue
		}
		id, best = p, r
	}
	if best == nil {
		return "", false
	}
	best.until, best.score = time.Time{}, pardoned
	return id, true
}

func (r *record) offences() (n uint32) {
	for _, c := range r.counts {
		n += c
	}
	return n
}

// score returns the score of a peer; it is 0 for those that did nothing.
func (s *scores) score(id peer.ID, now time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.peers[id]
	if !ok {
		return 0
	}
	s.age(r, now)
	return r.score
}

// bannedUntil returns when the ban of a peer ends, or zero.
func (s *scores) bannedUntil(id peer.ID, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.peers[id]
	if !ok {
		return time.Time{}
	}
	s.age(r, now)
	return r.until
}

// of returns the record of a peer as of now, a new one if need be. The caller
// holds mu.
func (s *scores) of(id peer.ID, now time.Time) *record {
	r, ok := s.peers[id]
	if ok {
		s.age(r, now)
		return r
	}
	if len(s.peers) >= maxRecords {
		s.forget(now)
	}
	r = &record{at: now}
	s.peers[id] = r
	return r
}

// age brings a record to a time: the score recovers, bans end. The caller holds mu.
func (s *scores) age(r *record, now time.Time) {
	if passed := now.Sub(r.at); passed > 0 {
		r.score *= math.Exp2(-passed.Seconds() / s.halfLife.Seconds())
		r.at = now
	}
	if !r.until.IsZero() && !r.until.After(now) {
		r.until = time.Time{}
		r.score = pardoned
	}
}

// forget drops the record with the best score. The caller holds mu.
func (s *scores) forget(now time.Time) {
	var worst peer.ID
	best := math.Inf(-1)
	for id, r := range s.peers {
		s.age(r, now)
		if value := r.value(); value > best {
			worst, best = id, value
		}
	}
	delete(s.peers, worst)
}

// value orders records by who is forgotten first.
func (r *record) value() float64 {
	if !r.until.IsZero() {
		return 2 * BanScore
	}
	return r.score
}

// Ban is a peer that is kept away.
type Ban struct {
	ID     peer.ID
	Until  time.Time
	Reason Reason // of the last offence
	Detail string
	Static bool
}

// banned lists who is banned, ordered by id.
func (s *scores) banned(now time.Time) []Ban {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Ban
	for id, r := range s.peers {
		s.age(r, now)
		if !r.until.IsZero() {
			out = append(out, Ban{ID: id, Until: r.until, Reason: r.by, Detail: r.detail})
		}
	}
	slices.SortFunc(out, func(a, b Ban) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// offences returns what one peer did, by reason.
func (s *scores) offences(id peer.ID) map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.peers[id]
	if !ok {
		return nil
	}
	out := map[string]uint64{}
	for reason, n := range r.counts {
		if n > 0 {
			out[Reason(reason).String()] = uint64(n)
		}
	}
	return out
}

// short bounds what is kept of an error that a peer may have shaped.
func short(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
