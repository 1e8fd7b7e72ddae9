package blocktrace

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/telemetry/names"
)

type (
	parentsKey struct{}
	blockKey   struct{}
)

// parents are the spans that work on single blocks of a batch, by trace.
type parents map[trace.TraceID]trace.SpanContext

// within returns a context whose span is in the trace of a block.
func within(ctx context.Context, span trace.Span) context.Context {
	return context.WithValue(trace.ContextWithSpan(ctx, span), blockKey{}, span.SpanContext().TraceID())
}

// inBlock reports whether the span in ctx is in the trace of a block.
func inBlock(ctx context.Context) bool {
	id, ok := ctx.Value(blockKey{}).(trace.TraceID)
	return ok && id == trace.SpanContextFromContext(ctx).TraceID()
}

// one starts a span in the trace of a block that is kept.
func (t *Tracer) one(ctx context.Context, name string, o Of) (context.Context, Span) {
	root := t.Root(o.From)
	up := parent(ctx, root, o.Causes)
	if work := trace.SpanContextFromContext(ctx); work.IsSampled() && work.TraceID() != root.TraceID() {
		o.Causes = append(slices.Clip(o.Causes), work)
	}
	span := t.start(trace.ContextWithSpanContext(ctx, up), name, o)
	return within(ctx, span), describe(spanOf(span), o)
}

// parent returns the span that a new one in the trace of root hangs on.
func parent(ctx context.Context, root trace.SpanContext, causes []trace.SpanContext) trace.SpanContext {
	id := root.TraceID()
	if work := trace.SpanContextFromContext(ctx); work.TraceID() == id {
		return work
	}
	if all, ok := ctx.Value(parentsKey{}).(parents); ok {
		if p, ok := all[id]; ok {
			return p
		}
	}
	for _, c := range slices.Backward(causes) {
		if c.TraceID() == id {
			return c
		}
	}
	return root
}

// batch starts a span below the one in ctx, or in a trace of its own where that
// belongs to a block.
func (t *Tracer) batch(ctx context.Context, name string, o Of) (context.Context, Span) {
	own := ctx
	if inBlock(ctx) {
		o.Causes = append(slices.Clip(o.Causes), trace.SpanContextFromContext(ctx))
		own = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	span := t.start(own, name, o)
	ctx = trace.ContextWithSpan(ctx, span)
	if !span.IsRecording() {
		return ctx, Span{} // what it leads to is not recorded either
	}
	return ctx, describe(spanOf(span), o)
}

// several starts a span for all blocks and one in the trace of each that is kept.
func (t *Tracer) several(ctx context.Context, name string, o Of) (context.Context, Span) {
	var roots []trace.SpanContext
	for height := range o.heights {
		if t.Kept(height) {
			roots = append(roots, t.Root(height))
		}
	}
	whole := o
	whole.Causes = append(slices.Clip(o.Causes), roots...)
	own, s := t.batch(ctx, name, whole)
	copied := Of{Kind: o.Kind, Begin: o.Begin}
	if s.Recording() {
		copied.Causes = []trace.SpanContext{s.Context()}
	} else {
		s = Span{&recorded{}}
	}
	all := make(parents, len(roots))
	for _, root := range roots {
		span := t.start(trace.ContextWithSpanContext(ctx, parent(ctx, root, o.Causes)), name, copied)
		all[root.TraceID()] = span.SpanContext()
		s.r.spans = append(s.r.spans, span)
	}
	return context.WithValue(own, parentsKey{}, all), s
}

// start starts a span below the one in ctx, linked to its causes.
func (t *Tracer) start(ctx context.Context, name string, o Of) trace.Span {
	const most = 3
	opts := append(make([]trace.SpanStartOption, 0, most), trace.WithSpanKind(o.Kind))
	if !o.Begin.IsZero() {
		opts = append(opts, trace.WithTimestamp(o.Begin))
	}
	up := trace.SpanContextFromContext(ctx)
	links := make([]trace.Link, 0, min(len(o.Causes), MaxLinks))
	cut := 0
	for _, c := range o.Causes {
		switch {
		case c.SpanID() == up.SpanID():
		case len(links) == MaxLinks:
			cut++
		default:
			links = append(links, trace.Link{SpanContext: c})
		}
	}
	_, span := t.tracer.Start(ctx, name, append(opts, trace.WithLinks(links...))...)
	if cut > 0 {
		span.SetAttributes(attribute.Int(names.AttrLinksCut, cut))
	}
	return span
}

func describe(s Span, o Of) Span {
	if o.From == o.To {
		s.SetAttributes(heightAttr(names.AttrHeight, o.From))
	} else {
		s.SetAttributes(heightAttr(names.AttrFromHeight, o.From), heightAttr(names.AttrToHeight, o.To))
	}
	return s
}

func heightAttr(key string, height uint64) attribute.KeyValue {
	return attribute.Int64(key, int64(height)) //nolint:gosec // heights stay far below 2^63
}
