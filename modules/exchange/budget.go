package exchange

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// budget bounds bytes in use, in total and per peer.
type budget struct {
	limit, share int64

	mu    sync.Mutex
	used  int64
	peers map[peer.ID]int64
}

func (b *budget) init(limit, share int) {
	b.limit, b.share = int64(limit), int64(share)
	b.peers = make(map[peer.ID]int64)
}

// take reserves n bytes for a peer, or reports that there is no room.
func (b *budget) take(p peer.ID, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	mine := b.peers[p] + int64(n)
	if b.used+int64(n) > b.limit || mine > b.share {
		return false
	}
	b.used += int64(n)
	b.peers[p] = mine
	return true
}

func (b *budget) give(p peer.ID, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= int64(n)
	if b.peers[p] -= int64(n); b.peers[p] <= 0 {
		delete(b.peers, p)
	}
}

// size returns the bytes in use.
func (b *budget) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// quiet notices when gossip is silent: for a while after every message, and again
// and again, at growing intervals, for as long as nothing is heard. Whoever is
// connected may be cut off without knowing.
type quiet struct {
	mu    sync.Mutex
	last  time.Time // of a message, or of the last time it was found to be silent
	pause time.Duration
	head  uint64 // of the store at that time
}

// longestQuiet is the longest interval.
const longestQuiet = 10 * time.Second

// note records a message and reports whether it is the first after a silence.
func (q *quiet) note(at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.pause > 0
	q.last, q.pause = at, 0
	return first
}

// over reports that nothing came for a while, and returns when to look again. When
// the store grew in the silence, others hear what is not heard here: then the
// intervals begin anew.
func (q *quiet) over(now time.Time, head uint64, after time.Duration) (over bool, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last.IsZero() {
		q.last, q.head = now, head
	}
	if at = q.last.Add(max(after, q.pause)); at.After(now) {
		return false, at
	}
	q.pause = min(2*max(after, q.pause), max(after, longestQuiet))
	if head != q.head {
		q.pause = after
	}
	q.last, q.head = now, head
	return true, now.Add(q.pause)
}
