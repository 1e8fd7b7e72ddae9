package exchange

import (
	"context"
	"errors"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/telemetry/tracelog"
)

// gossipChecks is how many messages are checked at once, no more than half of
// them from one peer; it is pubsub's own limit too, so nobody waits for a slot.
const gossipChecks = 1024

// join mounts the validator and joins the topic. Messages need no reader: the
// validator is where they are stored, so the topic is only relayed.
func (e *Exchange[H]) join(ctx context.Context) (leave func(), err error) {
	ps := e.net.PubSub()
	budget := budget{limit: int64(e.cfg.GossipBytes)}
	validate := func(vctx context.Context, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
		return e.validate(ctx, vctx, &budget, from, msg)
	}
	if err := ps.RegisterTopicValidator(e.topic, validate, pubsub.WithValidatorConcurrency(gossipChecks)); err != nil {
		return nil, err //nolint:wrapcheck // wrapped by Run
	}
	undo := func() { _ = ps.UnregisterTopicValidator(e.topic) }
	if e.pub, err = ps.Join(e.topic, pubsub.WithTopicMessageIdFn(pubsub.DefaultMsgIdFn)); err != nil {
		undo()
		return nil, err //nolint:wrapcheck // wrapped by Run
	}
	stop, err := e.pub.Relay()
	if err != nil {
		_ = e.pub.Close()
		undo()
		return nil, err //nolint:wrapcheck // wrapped by Run
	}
	return func() {
		stop()
		if err := e.pub.Close(); err != nil {
			e.log.Debug("topic close", zap.Error(err))
		}
		undo()
	}, nil
}

// validate is called by pubsub, on many goroutines at once.
func (e *Exchange[H]) validate(ctx, vctx context.Context, b *budget, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	if !e.gate.enter() {
		return e.verdict(ignoreStopped, from, nil)
	}
	defer e.gate.leave()
	if _, own := msg.ValidatorData.(prepared[H]); own { // set in this process only
		return e.verdict(acceptKnown, from, nil)
	}
	if !b.take(len(msg.Data)) {
		return e.verdict(ignoreBusy, from, nil)
	}
	defer b.give(len(msg.Data))
	if !e.checks.acquire(ctx, from) {
		return e.verdict(ignoreBusy, from, nil)
	}
	defer e.checks.release(from)
	if vctx.Err() != nil {
		return e.verdict(ignoreStopped, from, nil)
	}
	item, ok := msg.ValidatorData.(H)
	if !ok {
		var err error
		if item, err = e.rules.decode(msg.Data); err != nil {
			return e.verdict(rejectDecode, from, err)
		}
	}
	v, err := e.gossiped(ctx, item, from)
	return e.verdict(v, from, err)
}

// gossiped takes one item from gossip.
func (e *Exchange[H]) gossiped(ctx context.Context, item H, from peer.ID) (verdict, error) {
	e.peers.has(from, item.Height())
	if e.stored(ctx, item) {
		return acceptKnown, nil
	}
	came := e.arrival(item.Height())
	heads, err := e.rules.await(ctx, item)
	if err == nil {
		_, err = e.rules.check([]H{item}, heads)
	}
	switch {
	case err == nil:
	case errors.Is(err, errFar):
		return ignoreFar, err
	case errors.Is(err, errNoHeader):
		return ignoreNoHeader, err
	case errors.Is(err, errUnproven):
		if e.heard.note(time.Now()) || e.ahead(item.Height()) {
			e.poke()
		}
		return ignoreUnproven, err
	case errors.Is(err, block.ErrFutureTime):
		return ignoreFuture, err
	default:
		return rejectInvalid, err
	}
	if e.heard.note(time.Now()) {
		e.poke()
	}
	ctx, span := e.hearing(ctx, item.Height(), from, came)
	defer span.End()
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.place(ctx, item, from)
	if span.Recording() {
		span.SetAttributes(attribute.String(names.AttrVerdict, v.String()))
	}
	if line := e.log.Check(zap.DebugLevel, "gossip taken"); line != nil {
		line.Write(zap.Uint64("height", item.Height()), zap.String("hash", item.Digest().Short()), zap.Stringer("source", block.SourceP2P),
			zap.Stringer("verdict", v), zap.Stringer("peer", from), tracelog.IDs(ctx))
	}
	return v, span.Fail(err)
}

// ahead makes the next item wanted when one that cannot be judged is at or above
// it, and reports whether that is new. It proves nothing about those above.
func (e *Exchange[H]) ahead(height uint64) bool {
	next := e.next()
	return height >= next && e.raise(next)
}

// stored reports whether the store has the very same item.
func (e *Exchange[H]) stored(ctx context.Context, item H) bool {
	if item.Height() > e.store.Height() {
		return false
	}
	have, err := e.at(ctx, item.Height())
	return err == nil && e.rules.same(have, item)
}

// place puts a checked item where it belongs. The caller holds e.mu.
func (e *Exchange[H]) place(ctx context.Context, item H, from peer.ID) (verdict, error) {
	height, next := item.Height(), e.next()
	switch {
	case height < next:
		return e.known(ctx, item, from)
	case height == next:
		return e.follow(ctx, item, from)
	}
	if old, ok := e.park.get(height); ok {
		if old.Digest() != item.Digest() && e.kind == block.KindHeader {
			c := &block.Conflict[H]{Height: height, Have: old, Got: item}
			e.conflict(c, from)
			return ignoreConflict, c
		}
		return acceptKnown, nil
	}
	e.park.put(next-1, item)
	e.raise(height)
	e.poke()
	return acceptAhead, nil
}

// known judges an item of a height that is in the store.
func (e *Exchange[H]) known(ctx context.Context, item H, from peer.ID) (verdict, error) {
	same, err := e.compare(ctx, item, from)
	switch {
	case same:
		return acceptKnown, nil
	case errors.Is(err, errStore):
		return ignoreOld, err // below the tail, as a rule
	case e.kind == block.KindData:
		return rejectLink, err // its header leaves no choice
	}
	return ignoreConflict, err
}

// follow appends the item that comes next.
func (e *Exchange[H]) follow(ctx context.Context, item H, from peer.ID) (verdict, error) {
	n, err := e.extend(ctx, []H{item}, from)
	if n == 1 {
		e.raise(item.Height())
		return acceptNew, err
	}
	_, conflict := errors.AsType[*block.Conflict[H]](err)
	switch {
	case conflict:
		return ignoreConflict, err
	case errors.Is(err, errStore):
		e.status.fail(err)
		return ignoreStore, err
	case e.kind == block.KindData:
		return rejectLink, err
	}
	// Signed by the proposer, yet it does not join our chain: one of the two is a
	// fork. Whoever relays it has done no wrong.
	e.status.fail(err)
	select {
	case e.forks <- from:
	default:
	}
	e.poke()
	return ignoreFork, err
}

// verdict counts and logs, and translates for pubsub.
func (e *Exchange[H]) verdict(v verdict, from peer.ID, err error) pubsub.ValidationResult {
	e.counts.gossip[v].Add(1)
	switch {
	case v <= acceptAhead:
		if err != nil {
			e.log.Debug("gossip", zap.Stringer("verdict", v), zap.Stringer("peer", from), zap.Error(err))
		}
		return pubsub.ValidationAccept
	case v < rejectDecode:
		e.log.Debug("gossip", zap.Stringer("verdict", v), zap.Stringer("peer", from), zap.Error(err))
		return pubsub.ValidationIgnore
	}
	e.log.Debug("gossip", zap.Stringer("verdict", v), zap.Stringer("peer", from), zap.Error(err))
	if from != e.host.ID() {
		e.counts.lies.Add(1)
		if e.blame != nil {
			e.blame(from, err)
		}
	}
	return pubsub.ValidationReject
}
