package instrumented

import (
	"context"
	"time"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
)

// Wrap returns s with an Append that publishes an event of type t after each
// successful call. Without a notifier it returns s itself, at no cost.
func Wrap[H header.Header[H]](s header.Store[H], n *notifier.Notifier, t notifier.EventType, opts ...Option) header.Store[H] {
	if n == nil {
		return s
	}
	w := &store[H]{Store: s, events: n, eventType: t}
	for _, o := range opts {
		o(&w.tracing)
	}
	return w
}

type store[H header.Header[H]] struct {
	header.Store[H]
	events    *notifier.Notifier
	eventType notifier.EventType
	tracing   tracing
}

// Append appends to the store beneath and announces the highest item, whatever
// the order they came in. One call is one event; a failed or empty one is none.
func (s *store[H]) Append(ctx context.Context, items ...H) error {
	if len(items) == 0 {
		return s.Store.Append(ctx)
	}
	of, e := rangeOf(items), s.event(ctx, highest(items))
	ctx, span := s.tracing.appending(ctx, e, of, len(items))
	defer span.End()
	if err := s.Store.Append(ctx, items...); err != nil {
		return span.Fail(err)
	}
	s.announce(ctx, e, of)
	return nil
}

func (s *store[H]) event(ctx context.Context, item H) notifier.Event {
	e := notifier.Event{Type: s.eventType, Source: SourceOf(ctx), Height: item.Height()}
	copy(e.Hash[:], item.Hash())
	return e
}

func (s *store[H]) announce(ctx context.Context, e notifier.Event, of blocktrace.Of) {
	span := s.tracing.publishing(ctx, e, of)
	defer span.End()
	e.Span = carried(ctx, span)
	e.Timestamp = time.Now()
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
