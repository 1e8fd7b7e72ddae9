package pipeline

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/names"
)

// spanBlocks is up to how many blocks of one group get spans of their own.
const spanBlocks = 8

// span starts a span when it is wanted and the caller's is recorded, and else
// costs nothing.
func (p *Pipeline) span(ctx context.Context, name string, wanted bool) (context.Context, trace.Span) {
	if !wanted || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, p.noSpan
	}
	return p.tracer.Start(ctx, name) //nolint:spancheck // the caller ends it
}

func fail(s trace.Span, err error) {
	if err != nil && s.IsRecording() {
		s.SetStatus(codes.Error, err.Error())
	}
}

func describe(s trace.Span, b block.Block, src block.Source) {
	if !s.IsRecording() {
		return
	}
	s.SetAttributes(heightAttr(names.AttrHeight, b.Height()), attribute.String(names.AttrSource, src.String()))
	if b.Data != nil {
		s.SetAttributes(attribute.Int(names.AttrTxCount, len(b.Data.Txs)))
	}
}

func describeRange(s trace.Span, from uint64, count int, src block.Source) {
	if !s.IsRecording() || count == 0 {
		return
	}
	s.SetAttributes(heightAttr(names.AttrFromHeight, from), heightAttr(names.AttrToHeight, from+uint64(count)-1), //nolint:gosec // a count
		attribute.Int(names.AttrBlockCount, count), attribute.String(names.AttrSource, src.String()))
}

func heightAttr(key string, h uint64) attribute.KeyValue {
	return attribute.Int64(key, int64(h)) //nolint:gosec // heights stay far below 2^63
}
