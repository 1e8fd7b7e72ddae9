package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// dispatch sends requests for the chunks that have none, the lowest first, and
// returns when to look again.
func (s *puller[H]) dispatch(ctx context.Context, next uint64, now time.Time) time.Time {
	if at := s.open.Add(s.cfg.Grace); !s.urgent && s.target()-next < maxItems && s.flying == 0 && now.Before(at) {
		return at // gossip is likely to close it
	}
	for i, c := range s.chunks {
		if c.flying || c.done {
			continue
		}
		if s.flying >= s.cfg.InFlight || i > 0 && !s.room() {
			return time.Time{} // the end of a request helps
		}
		p, at, ok := s.peers.pick(c.from, c.peer, now)
		if !ok {
			return at
		}
		s.send(ctx, c, p)
	}
	return time.Time{}
}

// room reports whether one more answer fits the byte limit.
func (s *puller[H]) room() bool {
	const most = maxItems
	one := min(most*s.average, int64(s.cfg.ResponseBytes))
	coming := max(one*int64(s.flying), s.status.reading.Load())
	return s.status.queued.Load()+coming+one <= int64(s.cfg.QueueBytes)
}

// send requests a chunk from a peer.
func (s *puller[H]) send(ctx context.Context, c *chunk[H], p peer.ID) {
	mine, cancel := context.WithCancel(ctx)
	c.flying, c.peer, c.cancel = true, p, cancel
	s.flying++
	s.status.inFlight.Add(1)
	c.begun, c.got, c.relieved = time.Now(), new(atomic.Int64), false
	sp, begun := c.span, c.begun
	sp.first, sp.got = c == s.chunks[0], c.got
	s.wg.Go(func() {
		defer cancel()
		a := s.fetch(mine, p, sp)
		if timedOut(a.err) && time.Since(begun) >= s.cfg.RequestTimeout {
			a.err = fmt.Errorf("%w: %w", errStalled, a.err)
		}
		s.post(ctx, func() { s.received(ctx, c, a) })
		s.done(a)
	})
}

// post hands an outcome to Run's goroutine; when Run ends nobody takes it.
func (s *puller[H]) post(ctx context.Context, f func()) {
	select {
	case s.outcomes <- f:
	case <-ctx.Done():
	}
}

// received takes the answer to a chunk's request.
func (s *puller[H]) received(ctx context.Context, c *chunk[H], a answer[H]) {
	c.flying = false
	s.flying--
	s.status.inFlight.Add(-1)
	if len(a.items) > 0 {
		s.peers.sped(c.peer, a.bytes, time.Since(c.begun))
		s.peers.has(c.peer, c.from+uint64(len(a.items))-1)
	}
	if errors.Is(a.err, errUnproven) {
		s.rules.stop(c.peer, a.bad, time.Now().Add(s.cfg.RetryMax))
	}
	o := outcomeOf(c, a)
	s.peers.done(c.peer, o, c.from, time.Now())
	switch o {
	case outcomeLie:
		s.lie(c.peer, a.err)
	case outcomeMissing:
		s.counts.notFound.Add(1)
		s.misses++
		s.refuted(ctx, c.peer, c.from)
		s.giveUp(c)
	case outcomeFailed:
		s.stalled(c.peer, c.from, a.err)
	case outcomeGood, outcomeDropped, outcomeRefuted:
	}
	if a.err != nil && !c.gone {
		s.status.fail(a.err)
		if len(a.items) == 0 {
			s.counts.failures.Add(1)
		}
		s.log.Debug("range request cut short", zap.Stringer("peer", c.peer), zap.Uint64("from", c.from), zap.Error(a.err))
	}
	if c.gone || len(a.items) == 0 {
		return
	}
	s.pass(a.items, c.peer)
	s.counts.fetched.Add(uint64(len(a.items)))
	s.counts.fetchedSize.Add(uint64(a.bytes)) //nolint:gosec // not negative
	s.average += (a.held/int64(len(a.items)) - s.average) / 4
	c.items, c.bytes, c.done, c.source = a.items, a.held, true, a.span
	s.status.queued.Add(a.held)
	s.split(c, c.from+uint64(len(a.items)))
}

// split cuts a chunk at a height; what is behind becomes a chunk of its own that
// is requested again.
func (s *puller[H]) split(c *chunk[H], at uint64) {
	if at >= c.to {
		return
	}
	rest := &chunk[H]{span: c.span, peer: c.peer}
	rest.skip(at)
	c.to = at
	if len(c.heads) > 0 {
		c.heads = c.heads[:at-c.from]
	}
	for i := range s.chunks {
		if s.chunks[i] == c {
			s.chunks = append(s.chunks[:i+1], append([]*chunk[H]{rest}, s.chunks[i+1:]...)...)
			return
		}
	}
}

// giveUp drops a target that no peer can prove: every one of them said, over and
// over, that it does not have the next height. New claims and gossip raise it
// again.
func (s *puller[H]) giveUp(c *chunk[H]) {
	const patience = 12
	if _, follows := s.rules.target(); follows || s.misses < patience*max(s.peers.count(), 1) || len(s.chunks) == 0 || s.chunks[0] != c {
		return
	}
	if s.goal() < s.next() { // nobody whom the proposer vouches for said that there is more
		s.chargeVague(s.claims.clear(true), time.Now())
		return
	}
	s.log.Warn("dropping a head nobody can prove", zap.Uint64("target", s.target()), zap.Uint64("head", s.store.Height()))
	s.chargeVague(s.claims.clear(false), time.Now()) // but for those that were shown
	s.park.clear()
}

// collect appends the chunks that are complete, in order, many at a time.
func (s *puller[H]) collect(ctx context.Context) error {
	for len(s.chunks) > 0 && s.chunks[0].done {
		if err := s.appendFront(ctx); err != nil {
			return err
		}
	}
	return nil
}

// appendFront appends the first chunks that are complete.
func (s *puller[H]) appendFront(ctx context.Context) error {
	const most = 8 * maxItems
	s.mu.Lock()
	defer s.mu.Unlock()
	prev, next, err := s.tip(ctx)
	if err != nil {
		return err
	}
	if s.chunks[0].from > next {
		s.reset() // the store was cut back
		return nil
	}
	var items []H
	n, stored := 0, next
	for n < len(s.chunks) && s.chunks[n].done && len(items) < most {
		c := s.chunks[n]
		if c.synth {
			s.synthesise(c, prev, next)
		}
		if len(c.items) > 0 {
			prev = c.items[len(c.items)-1]
		}
		if next < c.to {
			next = c.to
		}
		items = append(items, c.items...)
		n++
	}
	first := s.chunks[0].from
	if len(items) > 0 {
		first = items[0].Height()
	}
	got, err := s.extend(trace.ContextWithSpanContext(ctx, s.chunks[0].source), items, s.chunks[0].peer)
	s.advance(n, max(first+uint64(got), stored)) //nolint:gosec // not negative
	return s.judge(ctx, err, items[got:])
}

// synthesise makes the items of a chunk from the first height that is not there
// yet. The caller holds mu.
func (s *puller[H]) synthesise(c *chunk[H], prev H, next uint64) {
	if c.to <= next {
		return
	}
	if c.from < next {
		c.skip(next)
	}
	c.items = s.rules.synth(prev, c.heads)
	s.counts.synth.Add(uint64(len(c.items)))
}

// advance drops what is stored of the first n chunks: everything below reached.
// The rest of them is requested again.
func (s *puller[H]) advance(n int, reached uint64) {
	for _, c := range s.chunks[:n] {
		if c.to <= reached {
			s.free(c)
			continue
		}
		s.free(c)
		if c.from < reached {
			c.skip(reached)
		}
		c.done = c.synth
	}
	for len(s.chunks) > 0 && s.chunks[0].to <= reached {
		s.chunks = s.chunks[1:]
	}
}

// judge decides what a failed append means. bad are the items that did not make
// it. The caller holds mu.
func (s *puller[H]) judge(ctx context.Context, err error, bad []H) error {
	if err == nil {
		s.status.clear()
		return nil
	}
	if errors.Is(err, errStore) || len(bad) == 0 || len(s.chunks) == 0 {
		return err
	}
	p := s.chunks[0].peer
	s.status.fail(err)
	if errors.Is(err, errRefuted) { // since it was fetched
		s.peers.refutedAt(p, bad[0].Height(), time.Now())
		return nil
	}
	if errors.Is(err, errUnproven) {
		s.rules.stop(p, bad[0], time.Now().Add(s.cfg.RetryMax))
		return nil
	}
	if _, ok := errors.AsType[*block.Conflict[H]](err); ok {
		return nil // reported; whoever sent it has done no wrong
	}
	s.peers.rest(p, time.Now())
	if s.kind == block.KindHeader && bad[0].Height() > s.genesis.InitialHeight {
		// Signed by the proposer, yet not joining our chain: see what the peer has in
		// place of our head before calling it a liar.
		s.probe(ctx, p, bad[0].Height()-1, err)
		return nil
	}
	s.lie(p, err)
	return nil
}
