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

// force reserves n bytes for a peer, room or not.
func (b *budget) force(p peer.ID, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += int64(n)
	b.peers[p] += int64(n)
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

// quiet notices when a stream of messages has ended.
type quiet struct {
	mu       sync.Mutex
	last     time.Time
	watching bool
}

// note records a message and reports whether it begins a stream.
func (q *quiet) note(at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = at
	first := !q.watching
	q.watching = true
	return first
}

// over reports, once per stream, that nothing came for a while; before that it
// returns when to look again.
func (q *quiet) over(now time.Time, after time.Duration) (over bool, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.watching {
		return false, time.Time{}
	}
	if at = q.last.Add(after); at.After(now) {
		return false, at
	}
	q.watching = false
	return true, time.Time{}
}
