package sequencer

import (
	"context"
	"encoding/binary"
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

// lateHeights is how far behind the last try a lost submission is looked for:
// longer than DA mempools keep a transaction.
const lateHeights = 64

// attempt is a submission whose outcome may not be known. It is written down
// before the first byte is sent.
type attempt struct {
	first uint64 // DA head before the first try
	last  uint64 // DA head before the last try
	to    uint64 // last height sent in any try

	open    bool      // some try may have landed: look on DA before sending again
	until   uint64    // DA head from which on sending again is allowed
	scanned uint64    // DA heights up to here were looked at
	lost    time.Time // when a try's outcome was lost; zero once until says so
}

func (l *lane) metaKey() string { return "submit_" + l.kind.String() }

// remember writes the attempt down.
func (l *lane) remember() error {
	b := make([]byte, 0, 24)
	for _, n := range []uint64{l.try.first, l.try.last, l.try.to} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if err := l.s.p.Store.PutMeta(l.metaKey(), b); err != nil {
		return fmt.Errorf("write %s submission down: %w", l.kind, err)
	}
	return nil
}

// recall takes up the attempt an earlier process was in the middle of.
func (l *lane) recall() error {
	b, ok, err := l.s.p.Store.Meta(l.metaKey())
	switch {
	case err != nil:
		return fmt.Errorf("read last %s submission: %w", l.kind, err)
	case !ok:
		return nil
	case len(b) != 24:
		return fmt.Errorf("read last %s submission: %d bytes, want 24", l.kind, len(b))
	}
	to := binary.BigEndian.Uint64(b[16:])
	if to <= l.done() {
		return nil
	}
	l.try = attempt{first: binary.BigEndian.Uint64(b), last: binary.BigEndian.Uint64(b[8:]), to: to, open: true}
	l.try.scanned = before(l.try.first)
	l.try.until = l.try.last + l.cfg.ReconcileHeights
	l.log.Info("looking for an unfinished submission on DA", zap.Uint64("to_height", to), zap.Uint64("from_da_height", l.try.first))
	return nil
}

func before(height uint64) uint64 { return height - min(height, 1) }

// post sends the batch until all of it is known to lie on DA. It returns an
// error only when that can never be.
func (l *lane) post(ctx context.Context) error {
	defer l.update(func(s *LaneStats) { s.WaitingFor = "" })
	l.lastAt = time.Now()
	for len(l.batch) > 0 {
		l.update(func(s *LaneStats) { s.WaitingFor = "the DA layer" })
		wait, err := l.advance(ctx)
		if err == nil {
			err = l.settle(ctx)
		}
		if err != nil {
			return err
		}
		if wait > 0 {
			if _, err := sleep(ctx, wait, nil); err != nil {
				return err
			}
		}
	}
	l.pause.reset()
	l.posts.clear()
	if l.try.open && l.try.to > l.done() {
		l.try.scanned = before(l.try.first) // the next batch is looked for from the beginning
		return nil
	}
	l.try = attempt{}
	return nil
}

// advance does one round: look for what may have landed, then send what is
// missing. It returns how long to wait before the next round.
func (l *lane) advance(ctx context.Context) (time.Duration, error) {
	head, err := l.s.p.Client.Head(ctx)
	if err != nil {
		return l.failed(ctx, err)
	}
	if l.try.open {
		l.giveTime(head.Height)
		decided, err := l.reconcile(ctx, head.Height)
		if err != nil {
			return l.failed(ctx, err)
		}
		if !decided {
			l.update(func(s *LaneStats) { s.WaitingFor = "the outcome of a submission" })
			return l.cfg.DABlockTime, nil
		}
	}
	todo := l.todo()
	if len(todo) == 0 {
		return 0, nil
	}
	if !l.try.open {
		l.try = attempt{first: head.Height, scanned: before(head.Height)}
	} else {
		l.update(func(s *LaneStats) { s.Resent += uint64(len(todo)) })
	}
	l.try.last, l.try.to = head.Height, max(l.try.to, todo[len(todo)-1].height)
	if err := l.remember(); err != nil {
		return 0, err
	}
	return l.send(ctx, todo)
}

// todo returns the next items to send, at least one unless all have landed.
func (l *lane) todo() []*item {
	var out []*item
	weight := 0
	for i := range l.batch {
		it := &l.batch[i]
		if it.at > 0 {
			continue
		}
		weight += it.weight()
		if len(out) > 0 && weight > l.limit {
			break
		}
		out = append(out, it)
	}
	return out
}

// send makes one submission and sorts out its result.
func (l *lane) send(ctx context.Context, todo []*item) (time.Duration, error) {
	blobs := make([][]byte, len(todo))
	weight, size := 0, 0
	for i, it := range todo {
		blobs[i] = it.blob
		weight += it.weight()
		size += len(it.blob)
	}
	ctx, span := l.submitting(ctx, todo, size)
	defer span.End()
	at, err := l.s.p.Client.Submit(ctx, l.ns, blobs)
	switch {
	case err == nil:
		if span.Recording() {
			span.SetAttributes(attribute.Int64(names.AttrDAHeight, int64(at))) //nolint:gosec // heights stay far below 2^63
		}
		for _, it := range todo {
			it.at = at
		}
		l.widen()
		l.pause.reset()
		l.posts.clear()
		l.update(func(s *LaneStats) { s.DAHeight, s.LastPosted, s.Submissions = at, time.Now(), s.Submissions+1 })
		l.log.Debug("posted", zap.Uint64("from_height", todo[0].height), zap.Uint64("to_height", l.try.to), zap.Uint64("da_height", at), zap.Int("bytes", size))
		return 0, nil
	case errors.Is(err, da.ErrTooLarge) && len(todo) > 1:
		l.limit, l.fitted = weight/2, 0
		l.log.Info("submission is too large for the DA layer, sending half", zap.Int("items", len(todo)), zap.Int("bytes", size))
		return 0, nil
	case errors.Is(err, da.ErrTooLarge):
		return 0, span.Fail(fmt.Errorf("%s %d has %d bytes as a blob, the DA layer refuses so large a one: %w", l.kind, todo[0].height, size, err))
	}
	_ = span.Fail(err)
	l.doubt(err)
	return l.failed(ctx, err)
}

// submitting starts the span of one submission.
func (l *lane) submitting(ctx context.Context, todo []*item, size int) (context.Context, blocktrace.Span) {
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
	switch {
	case errors.Is(err, da.ErrFee), errors.Is(err, da.ErrAuth), errors.Is(err, da.ErrDisabled):
		return
	case errors.Is(err, da.ErrUnknown): // also when wrapped along with one of the next
		l.try.until, l.try.lost = l.try.last+l.cfg.ReconcileHeights, time.Now()
	case errors.Is(err, da.ErrBusy), errors.Is(err, da.ErrUnavailable):
		l.try.until = max(l.try.until, l.try.last)
	default:
		l.try.until, l.try.lost = l.try.last+l.cfg.ReconcileHeights, time.Now()
	}
	l.try.open = true
}

// giveTime counts the heights a lost try has to land from where the head was
// when it was lost: the call may have hung for many of them, with a transaction
// that waits until the layer moves again. After a long silence the head of now
// says nothing about then.
func (l *lane) giveTime(head uint64) {
	since := time.Since(l.try.lost)
	if !l.try.lost.IsZero() && since < time.Duration(l.cfg.ReconcileHeights)*l.cfg.DABlockTime { //nolint:gosec // a small number
		l.try.until = max(l.try.until, head+l.cfg.ReconcileHeights)
	}
	l.try.lost = time.Time{}
}

// failed turns an error into a wait. Only the end of ctx is an error.
func (l *lane) failed(ctx context.Context, err error) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if errors.Is(err, da.ErrDisabled) {
		l.log.Info("there is no DA layer, nothing is posted")
		l.update(func(s *LaneStats) { s.WaitingFor = "a DA layer, none is configured" })
		<-ctx.Done()
		return 0, ctx.Err()
	}
	l.posts.note(err)
	if errors.Is(err, da.ErrFee) || errors.Is(err, da.ErrAuth) {
		const patience = 5 // an operator has to act
		return patience * l.cfg.DABlockTime, nil
	}
	return l.pause.step(), nil
}

// reconcile looks for the batch on DA up to head. It reports whether what was
// not found may be sent again.
func (l *lane) reconcile(ctx context.Context, head uint64) (bool, error) {
	missing := map[da.Commitment]*item{}
	for i := range l.batch {
		it := &l.batch[i]
		if it.at > 0 {
			continue
		}
		c, err := da.Commit(l.ns, it.blob)
		if err != nil {
			return false, fmt.Errorf("%s %d: %w", l.kind, it.height, err)
		}
		missing[c] = it
	}
	end := min(head, max(l.try.last+lateHeights, l.try.until))
	for h := l.try.scanned + 1; h <= end && len(missing) > 0; h++ {
		blobs, err := l.s.p.Client.Blobs(ctx, h, l.ns)
		switch {
		case errors.Is(err, da.ErrFuture):
			return false, nil
		case err != nil && !errors.Is(err, da.ErrPruned):
			return false, fmt.Errorf("look for submission at DA height %d: %w", h, err)
		}
		for _, b := range blobs {
			if it, ok := missing[b.Commitment]; ok {
				it.at = h
				l.update(func(s *LaneStats) { s.DAHeight, s.LastPosted = h, time.Now() })
				delete(missing, b.Commitment)
			}
		}
		l.try.scanned = h
	}
	return len(missing) == 0 || head >= l.try.until, nil
}
