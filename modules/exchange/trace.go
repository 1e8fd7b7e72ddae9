package exchange

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// asking starts the span of one range request.
func (e *Exchange[H]) asking(ctx context.Context, p peer.ID, s span) (context.Context, blocktrace.Span) {
	of := blocktrace.Range(s.from, s.to-1)
	of.Kind = trace.SpanKindClient
	ctx, span := e.tracer.Start(ctx, names.SpanRange, of)
	if span.Recording() {
		span.SetAttributes(attribute.String(names.AttrKind, e.kind.String()), attribute.String(names.AttrPeer, p.String()))
	}
	return ctx, span
}

// arrival is when a gossiped item came; zero where its block is not traced.
func (e *Exchange[H]) arrival(height uint64) time.Time {
	if !e.tracer.Kept(height) {
		return time.Time{}
	}
	return time.Now()
}

// hearing starts the span of a gossiped item that proved to be the proposer's: what
// strangers send leaves no trace. It begins when the item came.
func (e *Exchange[H]) hearing(ctx context.Context, height uint64, from peer.ID, came time.Time) (context.Context, blocktrace.Span) {
	if came.IsZero() {
		return ctx, blocktrace.Span{}
	}
	of := blocktrace.One(height)
	of.Kind, of.Begin = trace.SpanKindConsumer, came
	ctx, span := e.tracer.Start(ctx, names.SpanGossip, of)
	if span.Recording() {
		span.SetAttributes(
			attribute.String(names.AttrMessagingOperation, names.OperationProcess), attribute.String(names.AttrMessagingName, names.OperationProcess),
			attribute.String(names.AttrMessagingDestination, names.DestinationGossip),
			attribute.String(names.AttrKind, e.kind.String()), attribute.String(names.AttrPeer, from.String()),
		)
	}
	return ctx, span
}
