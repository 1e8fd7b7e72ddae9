package syncer

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/names"
)

// tracing makes the syncer's spans. Without a tracer it costs nothing.
type tracing struct {
	tracer   trace.Tracer
	none     trace.Span
	consumer []trace.SpanStartOption
}

func newTracing(t trace.Tracer) tracing {
	if _, ok := t.(noop.Tracer); ok {
		t = nil
	}
	return tracing{
		tracer: t, none: noop.Span{},
		consumer: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)},
	}
}

func (t *tracing) on() bool { return t.tracer != nil }

// receive starts the span of one wake-up and the work it leads to. It links to
// what caused the events, because many causes end in one wake-up.
func (t *tracing) receive(ctx context.Context, causes []notifier.SpanContext) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, t.none
	}
	ctx, span := t.tracer.Start(ctx, names.SpanReceive, t.consumer...)
	if !span.IsRecording() {
		return ctx, span
	}
	for _, c := range causes {
		span.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: c.TraceID, SpanID: c.SpanID, TraceFlags: trace.TraceFlags(c.Flags),
		})})
	}
	return ctx, span
}

// fetch starts the span of one read of [from, to) from the stores.
func (t *tracing) fetch(ctx context.Context, from, to uint64) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, t.none
	}
	ctx, span := t.tracer.Start(ctx, names.SpanFetch)
	if span.IsRecording() {
		span.SetAttributes(height(names.AttrFromHeight, from), height(names.AttrToHeight, to-1))
	}
	return ctx, span
}

func endFetch(span trace.Span, blocks int, err error) {
	if span.IsRecording() {
		span.SetAttributes(attribute.Int(names.AttrBlockCount, blocks))
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
	}
	span.End()
}

func height(key string, h uint64) attribute.KeyValue {
	return attribute.Int64(key, int64(h)) //nolint:gosec // heights stay far below 2^63
}
