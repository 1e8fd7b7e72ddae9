package instrumented

import (
	"context"
	"encoding/hex"

	header "github.com/celestiaorg/go-header"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// Option configures Wrap.
type Option func(*tracing)

// Tracer makes each Append a span and each announcement a producer span below
// it, which the event carries to whoever it wakes.
func Tracer(t *blocktrace.Tracer) Option {
	return func(tr *tracing) { tr.tracer = t }
}

// tracing makes the spans. Without a tracer it costs nothing.
type tracing struct{ tracer *blocktrace.Tracer }

// rangeOf returns the lowest and the highest height of items.
func rangeOf[H header.Header[H]](items []H) blocktrace.Of {
	of := blocktrace.One(items[0].Height())
	for _, item := range items[1:] {
		of.From, of.To = min(of.From, item.Height()), max(of.To, item.Height())
	}
	return of
}

// appending starts the span of writing count items.
func (t tracing) appending(ctx context.Context, e notifier.Event, of blocktrace.Of, count int) (context.Context, blocktrace.Span) {
	ctx, span := t.tracer.Start(ctx, names.SpanAppend, of)
	describe(span, e)
	if span.Recording() {
		span.SetAttributes(attribute.Int(names.AttrBlockCount, count))
	}
	return ctx, span
}

// publishing starts the span of announcing e.
func (t tracing) publishing(ctx context.Context, e notifier.Event, of blocktrace.Of) blocktrace.Span {
	if !t.tracer.On() {
		return blocktrace.Span{}
	}
	of.Kind = trace.SpanKindProducer
	_, span := t.tracer.Start(ctx, names.SpanPublish, of)
	describe(span, e)
	if span.Recording() {
		span.SetAttributes(
			attribute.String(names.AttrMessagingOperation, names.OperationSend), attribute.String(names.AttrMessagingName, names.OperationSend),
			attribute.String(names.AttrMessagingDestination, names.DestinationEvents),
		)
	}
	return span
}

// Announcing starts the span of announcing what was written by other ways than
// Append, and puts it into the event. The caller ends it after publishing.
func Announcing(ctx context.Context, t *blocktrace.Tracer, e *notifier.Event) blocktrace.Span {
	span := tracing{t}.publishing(ctx, *e, blocktrace.One(e.Height))
	e.Span = carried(ctx, span)
	return span
}

func describe(span blocktrace.Span, e notifier.Event) {
	if span.Recording() {
		span.SetAttributes(
			attribute.String(names.AttrKind, e.Type.String()), attribute.String(names.AttrSource, e.Source.String()),
			attribute.String(names.AttrHash, hex.EncodeToString(e.Hash[:])),
		)
	}
}

// carried is what an event takes along: its own span, or the one of the caller.
func carried(ctx context.Context, own blocktrace.Span) notifier.SpanContext {
	s := own.Context()
	if !s.IsValid() {
		s = trace.SpanContextFromContext(ctx)
	}
	return notifier.SpanContext{TraceID: s.TraceID(), SpanID: s.SpanID(), Flags: byte(s.TraceFlags())}
}
