package blocktrace

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	// Few is up to how many blocks are traced one by one. More of them at once
	// means that the node is far behind the head.
	Few = 8
	// Many is the same for what lies on DA, where one DA block holds many.
	Many = 128
	// MaxLinks is how many links a span has; the rest is counted.
	MaxLinks = 32
)

// Tracer makes the spans of one node. All methods may be used from many
// goroutines, and on nil, which traces nothing at no cost.
type Tracer struct {
	tracer  trace.Tracer
	genesis [32]byte
	part    part
	// verdicts remembers which blocks are kept, so that one that is not costs a hash
	// and some loads. A height has the slot of its last digits.
	verdicts [verdicts]atomic.Uint64
}

// New returns a tracer of a chain. The provider behind t must use IDs and the
// Sampler of the same ratio. It returns nil, which is off, when t does nothing.
func New(t trace.Tracer, genesis [32]byte, ratio float64) *Tracer {
	if _, off := t.(noop.Tracer); t == nil || off {
		return nil
	}
	return &Tracer{tracer: t, genesis: genesis, part: newPart(ratio)}
}

// On reports whether anything is traced.
func (t *Tracer) On() bool { return t != nil }

// A verdict about a height is height<<2 | kept<<1 | 1.
const (
	known    = 1
	kept     = 2
	verdict  = 2 // bits
	verdicts = 64
)

// Kept reports whether the trace of a block is recorded.
func (t *Tracer) Kept(height uint64) bool { return t != nil && t.keeps(height) }

func (t *Tracer) keeps(height uint64) bool {
	if v := t.verdicts[height%verdicts].Load(); v|kept == height<<verdict|kept|known {
		return v&kept != 0
	}
	return t.decide(height)
}

func (t *Tracer) decide(height uint64) bool {
	v := height<<verdict | known
	keep := t.part.keeps(TraceID(t.genesis, height))
	if keep {
		v |= kept
	}
	t.verdicts[height%verdicts].Store(v)
	return keep
}

// Root returns the context of a block's root span, wherever that is recorded.
func (t *Tracer) Root(height uint64) trace.SpanContext {
	if t == nil {
		return trace.SpanContext{}
	}
	flags := trace.TraceFlags(0)
	if t.Kept(height) {
		flags = trace.FlagsSampled
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: TraceID(t.genesis, height), SpanID: RootID(t.genesis, height), TraceFlags: flags, Remote: true,
	})
}

// Make starts the root span of a block. Only the node that makes the block does.
func (t *Tracer) Make(ctx context.Context, name string, height uint64) (context.Context, Span) {
	if !t.Kept(height) {
		return ctx, Span{}
	}
	_, span := t.tracer.Start(withRoot(ctx, t.Root(height)), name, trace.WithNewRoot()) //nolint:spancheck // the caller ends it
	return within(ctx, span), describe(spanOf(span), One(height))                       //nolint:spancheck // as above
}

// Of says which blocks a span is about, and more about it. From and To are
// inclusive.
type Of struct {
	From, To uint64
	// Only are the heights between From and To that are meant; nil is all.
	Only []uint64
	// Each is up to how many blocks get spans of their own; 0 is Few.
	Each   int
	Kind   trace.SpanKind
	Begin  time.Time // zero is now
	Causes []trace.SpanContext
}

// One is a span about one block.
func One(height uint64) Of { return Of{From: height, To: height} }

// Range is a span about the blocks [from, to].
func Range(from, to uint64) Of { return Of{From: from, To: to} }

func (o Of) few() bool {
	each := uint64(Few)
	if o.Each > 0 {
		each = uint64(o.Each)
	}
	return o.To-o.From < each
}

func (o Of) heights(yield func(uint64) bool) {
	if o.Only != nil {
		slices.Values(o.Only)(yield)
		return
	}
	for height := o.From; height <= o.To && yield(height); height++ {
	}
}

// Block starts a span in the trace of a block: the child of what works on that
// block in ctx, else of the block's root. Nothing is allocated when the block is
// not kept.
func (t *Tracer) Block(ctx context.Context, name string, height uint64) (context.Context, Span) {
	if t == nil { // all there is to do when tracing is off, and inlined
		return ctx, Span{}
	}
	return t.block(ctx, name, height)
}

func (t *Tracer) block(ctx context.Context, name string, height uint64) (context.Context, Span) {
	if !t.keeps(height) {
		return ctx, Span{}
	}
	return t.one(ctx, name, One(height))
}

// Start is Block for several blocks, and with more to say. The parent may also be
// the last of the causes that are in the trace of the block; everything else that
// led to the span is linked.
func (t *Tracer) Start(ctx context.Context, name string, o Of) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.about(ctx, name, o)
}

func (t *Tracer) about(ctx context.Context, name string, o Of) (context.Context, Span) {
	switch {
	case o.From == o.To:
		if !t.keeps(o.From) {
			return ctx, Span{}
		}
		return t.one(ctx, name, o)
	case !o.few():
		return t.batch(ctx, name, o)
	}
	for height := range o.heights {
		if t.Kept(height) {
			return t.several(ctx, name, o)
		}
	}
	return ctx, Span{}
}

// Work starts a span that is about no block. It is the child of the span in ctx.
func (t *Tracer) Work(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	own, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	if !span.IsRecording() {
		return ctx, Span{}
	}
	return own, spanOf(span)
}

// Step starts a span below the one in ctx, if that is recorded.
func (t *Tracer) Step(ctx context.Context, name string) (context.Context, Span) {
	if t == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, Span{}
	}
	return t.Work(ctx, name, trace.SpanKindInternal)
}

// At returns the span that works on a block in ctx, else the block's root; zero
// where the block is not recorded. Logs and events carry it.
func (t *Tracer) At(ctx context.Context, height uint64) trace.SpanContext {
	if !t.Kept(height) {
		return trace.SpanContext{}
	}
	return parent(ctx, t.Root(height), nil)
}
