package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
// them from one peer.
const gossipChecks = 1024

// gossipSlots is pubsub's own limit: those that are checked, and those that wait in
// quarantine at most, so that nobody waits for a slot.
const gossipSlots = 4 * gossipChecks

// join mounts the validator and joins the topic. Messages need no reader: the
// validator is where they are stored, so the topic is only relayed.
func (e *Exchange[H]) join(ctx context.Context) (leave func(), err error) {
	ps := e.net.PubSub()
	validate := func(vctx context.Context, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
		return e.validate(ctx, vctx, from, msg)
	}
	if err := ps.RegisterTopicValidator(e.topic, validate, pubsub.WithValidatorConcurrency(gossipSlots)); err != nil {
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
func (e *Exchange[H]) validate(ctx, vctx context.Context, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	own := msg.GetFrom() == from
	if !e.gate.enter() {
		return e.verdict(ignoreStopped, from, own, nil)
	}
	defer e.gate.leave()
	if made, ok := msg.ValidatorData.(prepared[H]); ok { // set in this process only
		e.relayed.first(e.store.Height(), made.item.Height(), made.item.Digest())
		e.heard.note(time.Now())
		return e.verdict(acceptKnown, from, own, nil)
	}
	size := len(msg.Data) + e.rules.weight(msg.Data) // pubsub keeps the bytes until the item is judged
	if !e.gossip.take(from, size) {
		return e.verdict(ignoreBusy, from, own, nil)
	}
	if !e.checks.acquire(ctx, from) {
		e.gossip.give(from, size)
		return e.verdict(ignoreBusy, from, own, nil)
	}
	done := sync.OnceFunc(func() {
		e.checks.release(from)
		e.gossip.give(from, size)
	})
	defer done()
	if vctx.Err() != nil {
		return e.verdict(ignoreStopped, from, own, nil)
	}
	item, ok := msg.ValidatorData.(H)
	if !ok {
		var err error
		if item, err = e.rules.decode(msg.Data); err != nil {
			return e.verdict(rejectDecode, from, own, err)
		}
	}
	v, err := e.taken(ctx, item, msg, done)
	return e.verdict(v, from, own, err)
}

// taken takes one item from gossip and decides whether it is passed on: in its own
// form, and once. waits is called if it has to wait.
func (e *Exchange[H]) taken(ctx context.Context, item H, msg *pubsub.Message, waits func()) (verdict, error) {
	from, height, hint := msg.ReceivedFrom, item.Height(), e.rules.hint(item)
	here := from == e.host.ID()
	switch {
	case here:
	case !item.IsP2P(msg.Data):
		return ignoreForm, nil
	case e.relayed.was(e.store.Height(), height, item.Digest()):
		return ignoreAgain, nil
	}
	v, err := e.gossiped(ctx, item, from, waits)
	if v == ignoreUnproven && msg.GetFrom() == from {
		e.claims.own(from)
	}
	if v > acceptAhead {
		return v, err
	}
	if hint != 0 && v != acceptKnown && e.hinted != nil && msg.GetFrom() == from {
		e.hinted(item, from) // nobody signs a hint, so it is heard from its maker alone
	}
	if v == acceptAhead && e.kind == block.KindData {
		if !e.linked(ctx, item, from, waits) {
			return acceptAhead, err // not proven, see verdict
		}
		v = acceptNew
	}
	switch {
	case !here && hint != 0 && hint != e.hint(height):
		return ignoreHint, err
	case !e.relayed.first(e.store.Height(), height, item.Digest()) && !here:
		return ignoreAgain, err
	}
	return v, err
}

// linked waits in the quarantine, for a short time, until what comes before an item is
// stored, and reports whether the item is what then follows.
func (e *Exchange[H]) linked(ctx context.Context, item H, from peer.ID, waits func()) bool {
	stay, leave, ok := e.quarantine.admit(ctx, from, item.Height(), 2*item.Held())
	if !ok {
		return false
	}
	defer leave()
	waits()
	stay, cancel := context.WithTimeout(stay, e.cfg.DataWait)
	defer cancel()
	have, err := e.store.GetByHeight(stay, item.Height())
	return err == nil && e.rules.same(have, item)
}

// gossiped takes one item from gossip. waits is called if it has to wait.
func (e *Exchange[H]) gossiped(ctx context.Context, item H, from peer.ID, waits func()) (verdict, error) {
	if e.stored(ctx, item) {
		e.peers.has(from, item.Height())
		return acceptKnown, nil
	}
	came := e.arrival(item.Height())
	heads, err := e.await(ctx, item, from, waits)
	if err == nil {
		_, err = e.rules.check([]H{item}, heads)
	}
	if errors.Is(err, errUnproven) && e.ahead(item.Height(), from) {
		e.poke()
	}
	if err != nil {
		return refusal(err), err
	}
	e.peers.has(from, item.Height())
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
func (e *Exchange[H]) ahead(height uint64, from peer.ID) bool {
	next := e.next()
	return height >= next && e.claim(from, claim{height: next, vague: true})
}

// await returns what is needed to judge an item. One that waits for its header
// does so in quarantine, and no longer counts as being checked.
func (e *Exchange[H]) await(ctx context.Context, item H, from peer.ID, waits func()) ([]*block.SignedHeader, error) {
	if err := e.rules.vet(item); err != nil {
		return nil, err
	}
	if e.rules.ready(item) {
		return e.rules.await(ctx, item)
	}
	stay, leave, ok := e.quarantine.admit(ctx, from, item.Height(), 2*item.Held())
	if !ok {
		e.quarantine.evicted.Add(1)
		return nil, errGaveWay
	}
	defer leave()
	waits()
	heads, err := e.rules.await(stay, item)
	if err != nil && errors.Is(context.Cause(stay), errGaveWay) {
		return nil, errGaveWay
	}
	return heads, err
}

// refusal is the verdict on an item that did not pass.
func refusal(err error) verdict {
	switch {
	case errors.Is(err, errFar):
		return ignoreFar
	case errors.Is(err, errGaveWay):
		return ignoreCrowded
	case errors.Is(err, errNoHeader):
		return ignoreNoHeader
	case errors.Is(err, errUnproven):
		return ignoreUnproven
	case errors.Is(err, errRefuted):
		return ignoreRefuted
	case errors.Is(err, block.ErrFutureTime):
		return ignoreFuture
	default:
		return rejectInvalid
	}
}

// pass tells of the DA hints of checked items.
func (e *Exchange[H]) pass(items []H, from peer.ID) {
	if e.hinted == nil {
		return
	}
	for _, item := range items {
		if e.rules.hint(item) != 0 {
			e.hinted(item, from)
		}
	}
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
		if e.kind == block.KindData {
			return acceptAhead, nil
		}
		if old.Digest() != item.Digest() {
			c := &block.Conflict[H]{Height: height, Have: old, Got: item}
			e.conflict(c, from)
			return ignoreConflict, c
		}
		return acceptKnown, nil
	}
	kept := e.park.put(next-1, item)
	if from != e.host.ID() {
		e.claim(from, claim{height: height})
	}
	e.poke()
	if !kept && height-next >= uint64(e.cfg.ParkHeights) { //nolint:gosec // a validated config value
		return ignoreAhead, nil // a claim; what is not connected is not relayed
	}
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
		return acceptNew, err
	}
	_, conflict := errors.AsType[*block.Conflict[H]](err)
	switch {
	case conflict:
		return ignoreConflict, err
	case errors.Is(err, errStore):
		e.status.fail(err)
		return ignoreStore, err
	case errors.Is(err, errRefuted):
		return ignoreRefuted, err
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

// verdict counts and logs, and translates for pubsub. own tells whether the peer
// made the message itself.
func (e *Exchange[H]) verdict(v verdict, from peer.ID, own bool, err error) pubsub.ValidationResult {
	e.counts.gossip[v].Add(1)
	if err != nil || v > acceptAhead {
		e.log.Debug("gossip", zap.Stringer("verdict", v), zap.Stringer("peer", from), zap.Error(err))
	}
	switch {
	case v == acceptAhead && e.kind == block.KindData:
		return pubsub.ValidationIgnore // what comes before it proves its link; until then it is not passed on
	case v <= acceptAhead:
		return pubsub.ValidationAccept
	case v < rejectDecode:
		e.endure(v, from, own)
		return pubsub.ValidationIgnore
	case from == e.host.ID():
		return pubsub.ValidationReject
	}
	e.counts.lies.Add(1)
	fault := FaultRelayed
	if own {
		fault = faultOf(err)
	}
	e.accuse(from, fault, err)
	return pubsub.ValidationReject
}

// endure makes noise cost once there is too much of it.
func (e *Exchange[H]) endure(v verdict, from peer.ID, own bool) {
	fault := FaultRepeated
	switch v {
	case ignoreForm, ignoreAgain, ignoreHint:
	case ignoreUnproven:
		fault = FaultUnproven
	default:
		return
	}
	if from == e.host.ID() || e.noise.bears(from, time.Now()) {
		return
	}
	if !own {
		fault = FaultRelayed
	}
	e.accuse(from, fault, fmt.Errorf("too much gossip that brings nothing, the last was %s", v))
}
