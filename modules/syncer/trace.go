package syncer

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// maxCauses is how many events are remembered until a fetch serves them.
const maxCauses = 128

// cause is a recorded event that waits for the fetch that serves it.
type cause struct {
	height uint64
	at     time.Time
	span   trace.SpanContext
}

// causes are the events heard and not yet served, and how many more there were.
type causes struct {
	list []cause
	more int
}

func (c *causes) hear(e notifier.Event) {
	if e.Span.Flags&byte(trace.FlagsSampled) == 0 {
		return
	}
	if len(c.list) == maxCauses {
		c.more++
		return
	}
	c.list = append(c.list, cause{height: e.Height, at: e.Timestamp, span: trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: e.Span.TraceID, SpanID: e.Span.SpanID, TraceFlags: trace.TraceFlags(e.Span.Flags),
	})})
}

// take returns the events of [from, to] in the order of their time. It forgets them,
// and those of lower heights, whose blocks were found without them.
func (c *causes) take(from, to uint64) ([]cause, int) {
	if len(c.list) == 0 {
		return nil, 0
	}
	slices.SortStableFunc(c.list, func(a, b cause) int { return a.at.Compare(b.at) })
	served, rest := []cause(nil), c.list[:0]
	for _, one := range c.list {
		switch {
		case one.height > to:
			rest = append(rest, one)
		case one.height >= from:
			served = append(served, one)
		}
	}
	more := c.more
	c.list, c.more = rest, 0
	return served, more
}

// receive starts the span of one wake-up and the work it leads to, on the blocks
// [from, to]. It begins when the event that completed the block was published, or
// the oldest one where there are several blocks.
func (s *Syncer) receive(ctx context.Context, from, to uint64) (context.Context, blocktrace.Span) {
	if !s.tracer.On() {
		return ctx, blocktrace.Span{}
	}
	of := blocktrace.Range(from, to)
	of.Kind = trace.SpanKindConsumer
	served, more := s.inbox.causes.take(from, to)
	for _, c := range served {
		of.Causes = append(of.Causes, c.span)
	}
	if len(served) > 0 {
		of.Begin = served[0].at
		if from == to {
			of.Begin = served[len(served)-1].at
		}
	}
	ctx, span := s.tracer.Start(ctx, names.SpanReceive, of)
	if !span.Recording() {
		return ctx, span
	}
	span.SetAttributes(
		attribute.String(names.AttrMessagingOperation, names.OperationProcess), attribute.String(names.AttrMessagingName, names.OperationProcess),
		attribute.String(names.AttrMessagingDestination, names.DestinationEvents), attribute.Int(names.AttrMessagingCount, len(served)+more),
	)
	if len(served) > 0 {
		span.SetAttributes(attribute.Int64(names.AttrQueueWait, time.Since(of.Begin).Milliseconds()))
		queue := blocktrace.Range(from, to)
		queue.Begin = of.Begin
		_, wait := s.tracer.Start(ctx, names.SpanQueue, queue)
		wait.End()
	}
	return ctx, span
}

// endFetch ends the span of one read from the stores.
func endFetch(span blocktrace.Span, blocks int, err error) {
	if span.Recording() {
		span.SetAttributes(attribute.Int(names.AttrBlockCount, blocks))
		_ = span.Fail(err)
	}
	span.End()
}
