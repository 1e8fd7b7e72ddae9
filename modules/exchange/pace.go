package exchange

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// A peer that takes too long for the heights that come next is relieved by one that
// was much faster.
const (
	// relieveAfter is how long it has; twice as long after each time it was relieved
	// in vain, as it may be this node that is slow.
	relieveAfter = 2 * time.Second
	// relieveFactor is how much faster the other one was.
	relieveFactor = 8
)

// sped notes at how many bytes per second a peer answered.
func (ps *peerSet) sped(id peer.ID, bytes int64, took time.Duration) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.set[id]
	if !ok {
		return
	}
	speed := float64(bytes) / max(took, time.Millisecond).Seconds()
	if s.speed == 0 {
		s.speed = speed
	}
	s.speed += (speed - s.speed) / 4
}

// fastest returns the speed of the fastest peer but one that may be asked for a
// height now; 0 when there is none.
func (ps *peerSet) fastest(height uint64, but peer.ID, now time.Time) (speed float64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, s := range ps.set {
		if s.id != but && s.flying < s.limit && !ps.until(s, height, now).After(now) {
			speed = max(speed, s.speed)
		}
	}
	return speed
}

// relieve ends the request for the first chunk when its peer takes too long, and
// returns when to look again; zero when there is nothing to look for.
func (s *puller[H]) relieve(now time.Time) time.Time {
	if len(s.chunks) == 0 || !s.chunks[0].flying || s.chunks[0].relieved {
		return time.Time{}
	}
	c := s.chunks[0]
	wait := relieveAfter << min(c.cuts, 10)
	if at := c.begun.Add(wait); at.After(now) {
		return at
	}
	speed := float64(c.got.Load()) / now.Sub(c.begun).Seconds()
	if relieveFactor*speed >= s.peers.fastest(c.from, c.peer, now) {
		return now.Add(relieveAfter)
	}
	c.relieved = true
	c.cuts++
	c.cancel()
	return time.Time{}
}
