package exchange

import (
	"context"
	"errors"
	"fmt"
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
		s.urgent = s.claims.raise(p, claim{height: a.claim, own: true, vague: true}) || s.urgent
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
	s.peers.has(p, a.items[0].Height())
	if !s.held(ctx, a.items[0], p) && s.claims.raise(p, claim{height: a.items[0].Height(), own: true}) {
		s.urgent = true
	}
	s.peers.answered(p)
}

// Told returns the connected peers that have told their head; Vouched has the
// highest one.
func (e *Exchange[H]) Told() []peer.ID { return e.peers.told() }

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

// refuted notes that a peer has not got a height. If it claimed to be above, the
// claim is gone, and the peer to blame if it spoke of its own store.
func (s *puller[H]) refuted(p peer.ID, height uint64) {
	c, ok := s.withdraw(p, height)
	if !ok {
		return
	}
	s.log.Info("dropping a head its peer cannot prove", zap.Stringer("peer", p), zap.Uint64("head", c.height), zap.Uint64("missing", height))
	if c.own {
		s.accuse(p, FaultUnproven, fmt.Errorf("claimed head %d and has no %d", c.height, height))
	}
}

// stalled notes that a request failed. A peer that never answers proves nothing.
func (s *puller[H]) stalled(p peer.ID, height uint64, err error) {
	const patience = 3
	if errors.Is(err, errUnproven) {
		return // its proposer may still be proven
	}
	if errors.Is(err, errStalled) {
		s.accuse(p, FaultStalled, err)
	}
	if s.peers.failing(p) >= patience {
		s.withdraw(p, height)
	}
}

// probe asks a peer for its item at a height we hold, to see whether its chain
// forks from ours there. If it does, that is a conflict and not the peer's fault;
// if not, the peer is to blame for what made us ask.
func (s *puller[H]) probe(ctx context.Context, p peer.ID, height uint64, why error) {
	if s.probing || height < s.genesis.InitialHeight || p == s.host.ID() {
		return
	}
	s.probing = true
	s.wg.Go(func() {
		a := s.fetch(ctx, p, span{from: height, to: height + 1})
		s.done(a)
		s.post(ctx, func() {
			s.probing = false
			if len(a.items) != 1 {
				return
			}
			if s.held(ctx, a.items[0], p) && why != nil && s.stored(ctx, a.items[0]) {
				s.lie(p, why)
			}
		})
	})
}
