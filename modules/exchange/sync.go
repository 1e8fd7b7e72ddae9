package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// puller fills the store up to the target. All of it belongs to Run's
// goroutine; requests run on their own and come back as events.
type puller[H Item[H]] struct {
	*Exchange[H]

	chunks  []*chunk[H] // contiguous, from the next height on
	flying  int         // chunks being fetched
	average int64       // bytes per item, lately
	urgent  bool        // somebody has what we lack: no grace
	open    time.Time   // since when the gap is open or has not shrunk
	last    uint64      // head at the last round
	hold    time.Time   // the store failed: not before
	warned  time.Time   // when a failure of the store was last logged
	misses  int         // answers "not found" in a row without progress

	probing  bool        // a probe is under way
	outcomes chan func() // of requests
	wg       sync.WaitGroup
}

// chunk is a span on its way into the store.
type chunk[H Item[H]] struct {
	span

	items  []H
	bytes  int64
	peer   peer.ID // who gave the items, or failed last
	flying bool
	done   bool
	gone   bool // no longer wanted
	cancel context.CancelFunc
	begun  time.Time     // of the request
	got    *atomic.Int64 // bytes of its answer
	// relieved says that the request was ended for the sake of a faster peer, cuts how
	// often that was done before anything came.
	relieved bool
	cuts     int
	source   trace.SpanContext // of the request that brought the items
}

// peerEvents is how many peer events may wait while the store is busy; when they
// are too many libp2p waits.
const peerEvents = 256

func newPuller[H Item[H]](e *Exchange[H]) *puller[H] {
	return &puller[H]{Exchange: e, outcomes: make(chan func(), 4*e.cfg.InFlight), average: 1 << 10}
}

// run works until nothing is left, waits, and starts over, until ctx ends.
func (s *puller[H]) run(ctx context.Context) error {
	sub, err := s.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated), new(event.EvtPeerConnectednessChanged),
	}, eventbus.Name("exchange "+s.kind.String()), eventbus.BufSize(peerEvents))
	if err != nil {
		return fmt.Errorf("subscribe to peer events: %w", err)
	}
	defer func() { _ = sub.Close() }()
	var headers <-chan struct{}
	if s.headers != nil {
		ch, stop := s.headers()
		defer stop()
		headers = ch
	}
	// Requests end with ctx; their outcomes are not read any more.
	defer s.wg.Wait()
	for _, p := range s.host.Network().Peers() {
		s.meet(p)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var proven <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wake:
		case <-headers:
		case <-proven:
		case p := <-s.forks:
			s.probe(ctx, p, s.store.Height(), nil)
		case f := <-s.outcomes:
			f()
			s.settleAll()
		case ev := <-sub.Out():
			s.peerEvent(ev)
		}
		s.counts.wakeups.Add(1)
		timer.Stop()
		at := s.round(ctx)
		var over time.Time
		if proven, over = s.rules.stopped(); !over.IsZero() {
			at = earlier(at, over)
		}
		if !at.IsZero() {
			timer.Reset(max(time.Until(at), 0))
		}
	}
}

// settleAll takes the outcomes that are already there, so that they are
// appended as one.
func (s *puller[H]) settleAll() {
	for {
		select {
		case f := <-s.outcomes:
			f()
		default:
			return
		}
	}
}

func (s *puller[H]) peerEvent(ev any) {
	switch ev := ev.(type) {
	case event.EvtPeerIdentificationCompleted:
		s.meet(ev.Peer)
	case event.EvtPeerProtocolsUpdated:
		s.meet(ev.Peer)
	case event.EvtPeerConnectednessChanged:
		if ev.Connectedness != network.Connected && ev.Connectedness != network.Limited {
			s.peers.remove(ev.Peer)
			s.claims.withdraw(ev.Peer, 0)
			s.noise.forget(ev.Peer)
		} else {
			s.meet(ev.Peer)
		}
	}
}

// meet adds a peer when it is connected and speaks the protocol, and drops it
// when it does not any more.
func (s *puller[H]) meet(p peer.ID) {
	known, err := s.host.Peerstore().SupportsProtocols(p, s.proto)
	speaks := err == nil && len(known) > 0 && known[0] == s.proto
	if speaks && s.host.Network().Connectedness(p) == network.Connected {
		s.peers.add(p)
		return
	}
	s.peers.remove(p)
	if !speaks {
		s.ofOtherChain(p)
	}
}

// round does all that can be done now and returns when to look again; zero
// when only an event can help.
func (s *puller[H]) round(ctx context.Context) time.Time {
	now := time.Now()
	at := earlier(s.askHeads(ctx, now), s.doubtVague(now))
	if now.Before(s.hold) {
		return earlier(at, s.hold)
	}
	s.mu.Lock()
	err := s.drain(ctx)
	s.mu.Unlock()
	if err == nil {
		err = s.collect(ctx)
	}
	if err != nil {
		return earlier(at, s.failed(ctx, err, now))
	}
	next := s.next()
	if target := s.target(); next > target {
		s.reset()
		s.urgent, s.misses, s.open = false, 0, time.Time{}
		s.status.clear()
		s.last = next
		return at
	}
	if next != s.last {
		s.settleWalls(ctx, next)
	}
	if next != s.last || s.open.IsZero() {
		s.last, s.open, s.misses = next, now, 0
	}
	if err := s.cover(ctx, next); err != nil {
		return earlier(at, s.failed(ctx, err, now))
	}
	if len(s.chunks) > 0 && s.chunks[0].done {
		return now // made from headers: append at once
	}
	at = earlier(at, s.relieve(now))
	return earlier(at, s.dispatch(ctx, next, now))
}

// settleWalls blames the peers that sent another header, of a proposer nobody named,
// than the one that is stored now.
func (s *puller[H]) settleWalls(ctx context.Context, next uint64) {
	for _, w := range s.rules.passed(next) {
		have, err := s.at(ctx, w.height)
		if err == nil && have.Digest() != w.digest {
			s.lie(w.peer, &block.Violation{
				Rule: block.ErrUnexpectedProposer, Height: w.height, Got: fmt.Sprintf("%X", w.proposer), Want: "the one whose header is stored",
			})
		}
	}
}

// warnEvery is how often a store that fails again and again is logged.
const warnEvery = time.Minute

// failed holds the work off for a while after the store failed.
func (s *puller[H]) failed(ctx context.Context, err error, now time.Time) time.Time {
	if ctx.Err() != nil {
		return time.Time{}
	}
	s.status.fail(err)
	if s.warned.IsZero() || now.Sub(s.warned) >= warnEvery {
		s.warned = now
		s.log.Warn("sync step failed, trying again", zap.Error(err))
	}
	s.hold = now.Add(s.cfg.RetryMin)
	return s.hold
}

// reset forgets all chunks.
func (s *puller[H]) reset() {
	for _, c := range s.chunks {
		s.drop(c)
	}
	s.chunks = s.chunks[:0]
}

func (s *puller[H]) drop(c *chunk[H]) {
	c.gone = true
	if c.flying {
		c.cancel()
	}
	s.free(c)
}

// free gives a chunk's items up.
func (s *puller[H]) free(c *chunk[H]) {
	s.status.queued.Add(-c.bytes)
	c.items, c.bytes, c.done = nil, 0, false
}

// cover trims the chunks to what is still missing and plans new ones behind
// them, as long as there is room.
func (s *puller[H]) cover(ctx context.Context, next uint64) error {
	for len(s.chunks) > 0 && s.chunks[0].to <= next {
		s.drop(s.chunks[0])
		s.chunks = s.chunks[1:]
	}
	if len(s.chunks) > 0 {
		switch c := s.chunks[0]; {
		case c.from > next: // the store was cut back
			s.reset()
		case c.from < next && !c.flying && !c.done:
			c.skip(next)
		}
	}
	from, to := next, s.target()+1
	s.trim(to)
	if n := len(s.chunks); n > 0 {
		from = s.chunks[n-1].to
	}
	for len(s.chunks) < 2*s.cfg.InFlight && from < to {
		// What is parked will join by itself once the gap before it is closed.
		end := s.park.next(from, to)
		if end == from {
			return nil
		}
		spans, err := s.rules.plan(ctx, from, end)
		if err != nil {
			return err
		}
		if len(spans) == 0 {
			return nil
		}
		for _, sp := range spans {
			s.chunks = append(s.chunks, &chunk[H]{span: sp, done: sp.synth})
			from = sp.to
		}
	}
	return nil
}

// trim drops the chunks from a height on: the claim they were made for is gone.
func (s *puller[H]) trim(to uint64) {
	for n := len(s.chunks); n > 0 && s.chunks[n-1].from >= to; n = len(s.chunks) {
		s.drop(s.chunks[n-1])
		s.chunks = s.chunks[:n-1]
	}
}

// skip drops the heights below from.
func (c *chunk[H]) skip(from uint64) {
	if len(c.heads) > 0 {
		c.heads = c.heads[from-c.from:]
	}
	c.from = from
}

// outcomeOf sorts an answer for the peer's record.
func outcomeOf[H Item[H]](c *chunk[H], a answer[H]) outcome {
	switch {
	case errors.Is(a.err, errLie):
		return outcomeLie
	case c.relieved, errors.Is(a.err, errStalled):
		return outcomeFailed // even with items: it could go on like that for ever
	case len(a.items) > 0:
		return outcomeGood
	case errors.Is(a.err, errRefuted):
		return outcomeRefuted
	case c.gone, errors.Is(a.err, context.Canceled), errors.Is(a.err, errFull), errors.Is(a.err, errUnproven):
		return outcomeDropped
	case errors.Is(a.err, errNotFound):
		return outcomeMissing
	}
	return outcomeFailed
}
