package sequencer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// patience is how many DA blocks to wait after a failure that a person has to mend.
const patience = 5

// advance does one round: look for what may have landed, then send what is
// missing. It returns how long to wait before the next round.
func (l *lane) advance(ctx context.Context) (time.Duration, error) {
	l.waits("the DA layer", false)
	head, err := l.head(ctx)
	if err != nil {
		return l.failed(ctx, err)
	}
	if l.try.open {
		decided, err := l.reconcile(ctx, head)
		if err != nil {
			return l.failed(ctx, err)
		}
		if !decided {
			return l.cfg.DABlockTime, nil
		}
	}
	todo := l.todo()
	if len(todo) == 0 {
		return 0, nil
	}
	if l.try.open {
		l.update(func(s *LaneStats) { s.Resent += uint64(len(todo)) })
	}
	l.try.retry(head, todo[len(todo)-1].height)
	if err := l.remember(); err != nil {
		return 0, err
	}
	return l.send(ctx, todo)
}

// head returns the head of DA, or the height below it. Only a height that can be
// read counts: everything that is kept about a submission hangs on it.
func (l *lane) head(ctx context.Context) (uint64, error) {
	h, err := l.s.p.Client.Head(ctx)
	if err != nil || h.Height == 0 {
		return 0, err //nolint:wrapcheck // names the call
	}
	for _, height := range []uint64{h.Height, before(h.Height)} { // nodes behind one address are not quite level
		_, err = l.s.p.Client.Blobs(ctx, height, l.ns)
		switch {
		case err == nil:
			return height, nil
		case !errors.Is(err, da.ErrFuture) && !errors.Is(err, da.ErrSyncing):
			return 0, fmt.Errorf("read DA height %d, the head: %w", height, err)
		}
	}
	return 0, fmt.Errorf("the DA layer reports height %d as its head and does not have it: %w", h.Height, err)
}

// floor returns a DA height below which nothing of this lane lies that the store
// does not know of.
func (l *lane) floor(ctx context.Context, head uint64) uint64 {
	low := max(l.s.p.Genesis.DAStartHeight, 1)
	if scanned := l.s.p.Store.DA().Scanned; scanned <= head {
		low = max(low, scanned)
	}
	if inc, err := l.s.p.Store.Inclusion(ctx, l.done()); err == nil {
		if at := max(inc.HeaderDA, inc.DataDA); at <= head {
			low = max(low, at)
		}
	}
	return min(low, head)
}

// todo returns how many items to send next, from the front: at least one unless
// there are none.
func (l *lane) todo() []item {
	n, weight := 0, 0
	for n < len(l.batch) {
		weight += l.batch[n].weight()
		if n > 0 && weight > l.limit {
			break
		}
		n++
	}
	return l.batch[:n]
}

// send makes one submission and sorts out its result.
func (l *lane) send(ctx context.Context, todo []item) (time.Duration, error) {
	blobs, commitments := make([][]byte, len(todo)), make([]da.Commitment, len(todo))
	weight, size := 0, 0
	for i, it := range todo {
		blobs[i] = it.blob
		weight += it.weight()
		size += len(it.blob)
		var err error
		if commitments[i], err = da.Commit(l.ns, it.blob); err != nil {
			return 0, fmt.Errorf("%s %d: %w", l.kind, it.height, err)
		}
	}
	ctx, span := l.submitting(ctx, todo, size)
	defer span.End()
	at, err := l.s.p.Client.Submit(ctx, l.ns, blobs)
	if err == nil {
		if span.Recording() {
			span.SetAttributes(attribute.Int64(names.AttrDAHeight, int64(at))) //nolint:gosec // heights stay far below 2^63
		}
		return 0, l.sent(todo, commitments, at, size)
	}
	_ = span.Fail(err)
	believed, sized := errors.Is(err, da.ErrGas), errors.Is(err, da.ErrGas)
	if errors.Is(err, da.ErrTooLarge) {
		sized = true
		var saved error
		if believed, saved = l.tooLarge(size); saved != nil {
			return 0, saved
		}
	}
	if believed && len(todo) > 1 && ctx.Err() == nil {
		l.halve(err, weight, size)
		return 0, nil
	}
	l.doubt(err)
	if sized {
		err = fmt.Errorf("submission of %d items from %s %d on, %d bytes: %w", len(todo), l.kind, todo[0].height, size, err)
	}
	return l.failed(ctx, err)
}

// sent takes note of an answer that says where on DA the items lie. They count as
// on DA once they are read back.
func (l *lane) sent(todo []item, commitments []da.Commitment, at uint64, size int) error {
	l.log.Debug("posted", zap.Uint64("from_height", todo[0].height), zap.Uint64("to_height", todo[len(todo)-1].height),
		zap.Uint64("da_height", at), zap.Int("bytes", size))
	for i, it := range todo {
		l.claim(it, commitments[i], at)
	}
	l.drop(len(todo))
	l.widen()
	l.pause.reset()
	l.posts.clear()
	l.problem.over("")
	l.update(func(s *LaneStats) { s.DAHeight, s.LastPosted, s.Submissions = at, time.Now(), s.Submissions+1 })
	if l.s.limit.taken(size) {
		return l.s.limit.save(l.s.p.Store, l.cfg.MaxBytes)
	}
	return nil
}

// halve makes submissions smaller after one was refused for its size.
func (l *lane) halve(err error, weight, size int) {
	l.limit, l.fitted = weight/2, 0
	l.log.Info("submission is too large for the DA layer, sending half", zap.Int("bytes", size), zap.Error(err))
}

// tooLarge remembers that a submission was refused for its size, and reports
// whether that is to be believed.
func (l *lane) tooLarge(size int) (bool, error) {
	believed, changed := l.s.limit.refused(size)
	if !changed {
		return believed, nil
	}
	l.log.Warn("the DA layer takes no submissions of this size, blocks stay smaller from now on",
		zap.Int("bytes", size), zap.Int("largest", l.s.limit.known()))
	return believed, l.s.limit.save(l.s.p.Store, l.cfg.MaxBytes)
}

// submitting starts the span of one submission.
func (l *lane) submitting(ctx context.Context, todo []item, size int) (context.Context, blocktrace.Span) {
	if !l.s.p.Tracer.On() {
		return ctx, blocktrace.Span{}
	}
	of := blocktrace.Of{From: todo[0].height, To: todo[len(todo)-1].height, Each: blocktrace.Many, Kind: trace.SpanKindClient}
	for _, it := range todo {
		of.Only = append(of.Only, it.height)
	}
	ctx, span := l.s.p.Tracer.Start(ctx, names.SpanDASubmit, of)
	if span.Recording() {
		span.SetAttributes(attribute.String(names.AttrKind, l.kind.String()), attribute.Int(names.AttrBlobCount, len(todo)), attribute.Int(names.AttrBytes, size))
	}
	return ctx, span
}

// widen tries larger submissions again after a while: limits of DA change rarely.
func (l *lane) widen() {
	const while = 32
	if l.fitted++; l.fitted == while {
		l.limit, l.fitted = min(l.cfg.MaxBytes, 2*l.limit), 0
	}
}

// doubt notes what a failed submission leaves open. Clear refusals leave nothing
// open; after busy and unavailable one look is enough; everything else may still
// land later.
func (l *lane) doubt(err error) {
	unknown := errors.Is(err, da.ErrUnknown) // also when wrapped along with another
	switch {
	case da.NothingPosted(err):
		return
	case !unknown && (errors.Is(err, da.ErrBusy) || errors.Is(err, da.ErrUnavailable)):
	default:
		l.try.look.extend(l.try.last + l.cfg.ReconcileHeights)
		l.try.lost, l.try.fresh = time.Now(), true
	}
	l.try.open = true
}

// failed turns an error into a wait. Only the end of ctx is an error.
func (l *lane) failed(ctx context.Context, err error) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if errors.Is(err, da.ErrDisabled) {
		l.log.Info("there is no DA layer, nothing is posted")
		l.waits("a DA layer, none is configured", false)
		<-ctx.Done()
		return 0, ctx.Err()
	}
	l.posts.note(err)
	mend := errors.Is(err, da.ErrFee) || errors.Is(err, da.ErrAuth) || errors.Is(err, da.ErrTooLarge)
	if mend || l.posts.lasts() >= patience*l.cfg.DABlockTime {
		l.problem.say("", failing(l.kind, l.done()+1, err))
	}
	if mend { // an operator has to act
		return patience * l.cfg.DABlockTime, nil
	}
	return l.pause.step(), nil
}

// reconcile looks for the batch on DA up to head. It reports whether what was
// not found may be sent again.
func (l *lane) reconcile(ctx context.Context, head uint64) (bool, error) {
	look := l.try.view(head, l.floor(ctx, head), l.cfg.ReconcileHeights)
	l.giveTime(look, head)
	missing := make(map[da.Commitment]uint64, len(l.batch))
	for _, it := range l.batch {
		c, err := da.Commit(l.ns, it.blob)
		if err != nil {
			return false, fmt.Errorf("%s %d: %w", l.kind, it.height, err)
		}
		missing[c] = it.height
	}
	for h := look.scanned + 1; h <= min(head, look.end) && len(missing) > 0; h++ {
		began := time.Now()
		blobs, err := l.s.p.Client.Blobs(ctx, h, l.ns)
		switch misled, headErr := l.misled(ctx, head, h-look.from, began); {
		case headErr != nil:
			return false, headErr
		case misled, errors.Is(err, da.ErrFuture): // nodes behind one address are not quite level
			return false, nil
		case err != nil && !errors.Is(err, da.ErrPruned):
			return false, fmt.Errorf("look for a submission at DA height %d: %w", h, err)
		}
		for _, b := range blobs {
			if height, ok := missing[b.Commitment]; ok {
				l.landed(height, b.Commitment, h)
				delete(missing, b.Commitment)
			}
		}
		look.scanned = h
	}
	if early := time.Since(l.try.lost) < l.landing(); len(missing) > 0 && (early || head < look.until) {
		l.waits(fmt.Sprintf("the outcome of a submission, which may land on DA up to height %d: the DA layer is at %d", look.until, head), true)
		return false, nil
	}
	return true, nil
}

// misled reports whether a head was wrong, after a read that took long and after many
// reads: one just above the true head waits for its block, and there may be answers for
// heights that do not exist, so that going up to a wrong head takes for ever.
func (l *lane) misled(ctx context.Context, head, reads uint64, began time.Time) (bool, error) {
	const many = 64
	if time.Since(began) < l.cfg.DABlockTime/2 && (reads+1)%many != 0 {
		return false, nil
	}
	now, err := l.head(ctx)
	return now < head, err
}

// landed takes note that an item of the batch lies at a DA height.
func (l *lane) landed(height uint64, commitment da.Commitment, at uint64) {
	for i, it := range l.batch {
		if it.height == height {
			l.claim(it, commitment, at)
			l.weight -= it.weight()
			l.batch = append(l.batch[:i:i], l.batch[i+1:]...)
			l.full = false
			break
		}
	}
	l.update(func(s *LaneStats) { s.DAHeight, s.LastPosted = at, time.Now() })
}

// giveTime counts the heights a lost try has to land from where the head was
// when it was lost: the call may have hung for many of them, with a transaction
// that waits until the layer moves again. After a long silence the head of now
// says nothing about then.
func (l *lane) giveTime(look *search, head uint64) {
	if l.try.fresh && time.Since(l.try.lost) < l.landing() {
		look.extend(head + l.cfg.ReconcileHeights)
		l.try.timed = head
	}
	l.try.fresh = false
}
