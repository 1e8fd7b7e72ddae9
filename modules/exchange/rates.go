package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// meter bounds the bytes per second that each peer is served. A request is paid for
// when it was answered, so the next one waits for the debt to be gone.
type meter struct {
	limit rate.Limit
	burst int

	mu    sync.Mutex
	peers map[peer.ID]*rate.Limiter
}

const (
	// requestCost is what a request counts at least.
	requestCost = 16 << 10
	// meterPeers is how many peers are kept apart; those without debt are forgotten.
	meterPeers = 256
)

func (m *meter) init(perSecond, burst int) {
	m.limit, m.burst = rate.Limit(perSecond), burst
	m.peers = make(map[peer.ID]*rate.Limiter)
}

func (m *meter) of(p peer.ID, now time.Time) *rate.Limiter {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.peers[p]
	if !ok {
		if len(m.peers) >= meterPeers {
			for id, old := range m.peers {
				if old.TokensAt(now) >= float64(m.burst) {
					delete(m.peers, id)
				}
			}
		}
		l = rate.NewLimiter(m.limit, m.burst)
		m.peers[p] = l
	}
	return l
}

// await waits until a peer has no debt. It is false when ctx ends before.
func (m *meter) await(ctx context.Context, p peer.ID) bool {
	now := time.Now()
	debt := -m.of(p, now).TokensAt(now)
	if debt <= 0 {
		return true
	}
	timer := time.NewTimer(time.Duration(debt / float64(m.limit) * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pay charges a peer for an answer.
func (m *meter) pay(p peer.ID, bytes int) {
	now := time.Now()
	m.of(p, now).ReserveN(now, min(max(bytes, requestCost), m.burst))
}
