package daworker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// retrieving starts the span of reading up to the head, below the poll that found
// it. While many DA heights are read it is the only one for all of them.
func (r *reader) retrieving(ctx context.Context) (context.Context, blocktrace.Span) {
	if !r.p.Tracer.On() {
		return ctx, blocktrace.Span{}
	}
	if r.cause.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, r.cause)
		r.cause = trace.SpanContext{}
	}
	r.each = r.head.Height-r.next < blocktrace.Few
	return r.p.Tracer.Work(ctx, names.SpanRetrieve, trace.SpanKindInternal)
}

// step starts the span of a part of the work on one DA height.
func (r *reader) step(ctx context.Context, name string, height uint64) (context.Context, blocktrace.Span) {
	if !r.each {
		return ctx, blocktrace.Span{}
	}
	ctx, span := r.p.Tracer.Step(ctx, name)
	if span.Recording() {
		span.SetAttributes(number(names.AttrDAHeight, height))
	}
	return ctx, span
}

func number(key string, n uint64) attribute.KeyValue {
	return attribute.Int64(key, int64(n)) //nolint:gosec // heights and counts stay far below 2^63
}
