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
	if s.peers.count() > 0 {
		silent, next := s.heard.over(now, s.store.Height(), s.cfg.Settle)
		if silent {
			due = append(due, s.peers.some(now, askedAtOnce)...)
		}
		at = earlier(at, next)
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

// askedAtOnce is how many peers are asked for their heads when nothing is heard.
const askedAtOnce = 3

// doubtVague drops the vague claims that nothing came of, which costs whoever spoke
// of its own store, and returns when the next one is due. While a proposer waits to
// be proven by the state, so do they.
func (s *puller[H]) doubtVague(now time.Time) time.Time {
	const slack = 2
	if waits, _ := s.rules.stopped(); waits != nil {
		return time.Time{}
	}
	late, next := s.claims.expire(s.store.Height(), now, slack*s.cfg.RequestTimeout)
	s.chargeVague(late, now)
	return next
}

// chargeVague blames those that spoke of their own store for claims that came to nothing.
func (s *puller[H]) chargeVague(late map[peer.ID]claim, now time.Time) {
	for p, c := range late {
		if c.own {
			s.peers.doubt(p, now)
			s.accuse(p, FaultUnproven, fmt.Errorf("told of %d, of a proposer nobody knows, and nobody has %d", c.height, s.next()))
		}
	}
}

// claimed takes the head a peer claims. It is signed by the proposer, which is
// enough to look for what leads to it.
func (s *puller[H]) claimed(ctx context.Context, p peer.ID, a answer[H]) {
	if a.claim != 0 {
		s.urgent = s.claim(p, claim{height: a.claim, own: true, vague: true}) || s.urgent
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
	if !s.held(ctx, a.items[0], p) && s.claim(p, claim{height: a.items[0].Height(), own: true}) {
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

// refuted notes that a peer has not got a height, though it claimed a head above. If
// it spoke of its own store it may have pruned what is below, so it is asked for that
// head; if it has not got that either, the claim is gone and the peer to blame.
func (s *puller[H]) refuted(ctx context.Context, p peer.ID, height uint64) {
	for _, c := range s.claims.of(p) {
		switch {
		case c.height < height, c.shown:
		case c.own && c.height > height && !c.vague:
			s.show(ctx, p, c)
		default:
			s.unproven(p, c, height)
		}
	}
}

// unproven drops a claim.
func (s *puller[H]) unproven(p peer.ID, c claim, missing uint64) {
	if _, ok := s.withdraw(p, c.height); !ok {
		return
	}
	s.log.Info("dropping a head its peer cannot prove", zap.Stringer("peer", p), zap.Uint64("head", c.height), zap.Uint64("missing", missing))
	if c.own {
		s.accuse(p, FaultUnproven, fmt.Errorf("claimed head %d and has no %d", c.height, missing))
	}
}

// show asks a peer for the head it claims, at its height. A peer that has it keeps
// its claim: the chain goes that far, though not all of it is to be had there.
func (s *puller[H]) show(ctx context.Context, p peer.ID, c claim) {
	if !s.claims.showing(p) {
		return // under way
	}
	s.wg.Go(func() {
		brief, cancel := s.brief(ctx)
		defer cancel()
		a := s.fetch(brief, p, span{from: c.height, to: c.height + 1})
		s.done(a)
		s.post(ctx, func() {
			switch {
			case len(a.items) == 1:
				s.claims.shown(p, c.height)
			case errors.Is(a.err, errNotFound):
				s.unproven(p, c, c.height)
			case errors.Is(a.err, errLie):
				s.lie(p, a.err)
			default:
				s.withdraw(p, c.height) // it may be away
			}
		})
	})
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
		brief, cancel := s.brief(ctx)
		defer cancel()
		a := s.fetch(brief, p, span{from: height, to: height + 1})
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
