package instrumented

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/names"
)

// Option configures Wrap.
type Option func(*tracing)

// Tracer makes each Append a span and each announcement a producer span below
// it, which the event carries to whoever it wakes.
func Tracer(t trace.Tracer) Option {
	return func(tr *tracing) {
		if _, off := t.(noop.Tracer); !off {
			tr.tracer = t
		}
	}
}

// tracing makes the spans. Without a tracer it costs nothing.
type tracing struct{ tracer trace.Tracer }

// appending starts the span of writing count items up to height.
func (t tracing) appending(ctx context.Context, e notifier.Event, count int) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, noop.Span{}
	}
	ctx, span := t.tracer.Start(ctx, names.SpanAppend)
	describe(span, e)
	if span.IsRecording() {
		span.SetAttributes(attribute.Int(names.AttrBlockCount, count))
	}
	return ctx, span
}

// publishing starts the span of announcing e.
func (t tracing) publishing(ctx context.Context, e notifier.Event) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, noop.Span{}
	}
	ctx, span := t.tracer.Start(ctx, names.SpanPublish, trace.WithSpanKind(trace.SpanKindProducer)) //nolint:spancheck // the caller ends it
	describe(span, e)
	return ctx, span //nolint:spancheck // as above
}

func describe(span trace.Span, e notifier.Event) {
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String(names.AttrKind, e.Type.String()), attribute.String(names.AttrSource, e.Source.String()),
			attribute.Int64(names.AttrHeight, int64(e.Height)), //nolint:gosec // heights stay far below 2^63
		)
	}
}

func fail(span trace.Span, err error) {
	if span.IsRecording() {
		span.SetStatus(codes.Error, err.Error())
	}
}
