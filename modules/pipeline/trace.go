package pipeline

import (
	"context"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

// heights returns the heights of blocks, which are contiguous.
func heights(blocks []block.Block) blocktrace.Of {
	first := blocks[0].Height()
	return blocktrace.Range(first, first+uint64(len(blocks))-1)
}

// span starts the span of a step of one block, where blocks have spans of their own.
func (p *Pipeline) span(ctx context.Context, name string, b block.Block, t turn) (context.Context, blocktrace.Span) {
	if !t.spans {
		return ctx, blocktrace.Span{}
	}
	ctx, span := p.tracer.Block(ctx, name, b.Height())
	if span.Recording() {
		span.SetAttributes(attribute.String(names.AttrSource, t.src.String()))
		if b.Data != nil {
			span.SetAttributes(attribute.Int(names.AttrTxCount, len(b.Data.Txs)))
		}
	}
	return ctx, span
}

// describe says how many blocks of which source a span was about.
func describe(s blocktrace.Span, count int, src block.Source) {
	if s.Recording() {
		s.SetAttributes(attribute.Int(names.AttrBlockCount, count), attribute.String(names.AttrSource, src.String()))
	}
}

// traceSeen marks in the traces of blocks that DA showed them.
func (p *Pipeline) traceSeen(ctx context.Context, fresh []block.Inclusion) {
	if !p.tracer.On() || len(fresh) > blocktrace.Many {
		return
	}
	for _, inc := range fresh {
		_, span := p.tracer.Block(ctx, names.SpanSeen, inc.Height)
		if span.Recording() {
			span.SetAttributes(attribute.String(names.AttrKind, inc.Kind.String()), heightAttr(names.AttrDAHeight, inc.DAHeight),
				attribute.String(names.AttrHash, inc.Hash.String()))
		}
		span.End()
	}
}

func heightAttr(key string, h uint64) attribute.KeyValue {
	return attribute.Int64(key, int64(h)) //nolint:gosec // heights stay far below 2^63
}
