package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"
)

// askHeads asks new peers how far they are and returns when the next one is to
// be asked. Only kinds whose target comes from claims need it.
func (s *puller[H]) askHeads(ctx context.Context, now time.Time) time.Time {
	if _, follows := s.rules.target(); follows {
		return time.Time{}
	}
	due, at := s.peers.unasked(now)
	if over, last := s.heard.over(now, s.cfg.Settle); over {
		if p, ok := s.peers.any(now); ok {
			due = append(due, p)
		}
	} else if !last.IsZero() {
		at = earlier(at, last)
	}
	for _, p := range due {
		s.wg.Go(func() {
			a := s.head(ctx, p)
			s.done(a)
			s.post(ctx, func() { s.claimed(ctx, p, a) })
		})
	}
	return at
}

// claimed takes the head a peer claims. It is signed by the proposer, which is
// enough to look for what leads to it.
func (s *puller[H]) claimed(ctx context.Context, p peer.ID, a answer[H]) {
	if a.claim != 0 {
		s.claim = max(s.claim, a.claim)
		return
	}
	if a.err != nil || len(a.items) == 0 {
		s.counts.failures.Add(1)
		s.log.Debug("head request", zap.Stringer("peer", p), zap.Error(a.err))
		if errors.Is(a.err, errLie) {
			s.peers.rest(p, time.Now())
			s.lie(p, a.err)
		}
		s.peers.unheard(p, time.Now())
		return
	}
	if !s.held(ctx, a.items[0], p) && s.raise(a.items[0].Height()) {
		s.urgent = true
	}
}

// chase raises the target towards a head whose proposer is not proven, no
// further than the ranges that are asked for at once: they have to prove the way.
func (s *puller[H]) chase(next uint64) {
	if s.claim < next {
		s.claim = 0
		return
	}
	s.urgent = s.raise(min(s.claim, next+maxItems*uint64(s.cfg.InFlight))) || s.urgent //nolint:gosec // not negative
}

// held reports whether the item's height is in the store already. If another
// item is there, that is a conflict.
func (s *puller[H]) held(ctx context.Context, item H, p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if item.Height() >= s.next() {
		return false
	}
	if _, err := s.compare(ctx, item, p); err != nil {
		s.log.Debug("compare", zap.Stringer("peer", p), zap.Error(err))
	}
	return true
}

// probe asks a peer for its item at a height we hold, to see whether its chain
// forks from ours there.
func (s *puller[H]) probe(ctx context.Context, p peer.ID, height uint64) {
	if s.probing || height < s.genesis.InitialHeight || p == s.host.ID() {
		return
	}
	s.probing = true
	s.wg.Go(func() {
		a := s.fetch(ctx, p, span{from: height, to: height + 1})
		s.done(a)
		s.post(ctx, func() {
			s.probing = false
			if len(a.items) == 1 {
				s.held(ctx, a.items[0], p)
			}
		})
	})
}
