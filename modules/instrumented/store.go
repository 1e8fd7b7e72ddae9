package instrumented

import (
	"context"
	"time"

	header "github.com/celestiaorg/go-header"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/notifier"
)

// Wrap returns s with an Append that publishes an event of type t after each
// successful call. Without a notifier it returns s itself, at no cost.
func Wrap[H header.Header[H]](s header.Store[H], n *notifier.Notifier, t notifier.EventType) header.Store[H] {
	if n == nil {
		return s
	}
	return &store[H]{Store: s, events: n, eventType: t}
}

type store[H header.Header[H]] struct {
	header.Store[H]
	events    *notifier.Notifier
	eventType notifier.EventType
}

// Append appends to the store beneath and announces the highest item, whatever
// the order they came in. One call is one event; a failed or empty one is none.
func (s *store[H]) Append(ctx context.Context, items ...H) error {
	if err := s.Store.Append(ctx, items...); err != nil {
		return err
	}
	if len(items) > 0 {
		s.announce(ctx, highest(items))
	}
	return nil
}

func (s *store[H]) announce(ctx context.Context, item H) {
	e := notifier.Event{
		Type: s.eventType, Source: SourceOf(ctx), Height: item.Height(), Timestamp: time.Now(),
	}
	copy(e.Hash[:], item.Hash())
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		e.Span = notifier.SpanContext{TraceID: span.TraceID(), SpanID: span.SpanID(), Flags: byte(span.TraceFlags())}
	}
	s.events.Publish(e)
}

func highest[H header.Header[H]](items []H) H {
	top := items[0]
	for _, item := range items[1:] {
		if item.Height() > top.Height() {
			top = item
		}
	}
	return top
}
