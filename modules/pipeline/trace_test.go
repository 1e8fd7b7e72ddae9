package pipeline_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry/names"
)

func TestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)).Tracer("test")
	w := newWorld(t, 20)
	with := w.params()
	with.Tracer = tracer
	p := pipeline.New(with)
	require.NoError(t, p.Open(t.Context()))
	ended := func() map[string]int {
		count := map[string]int{}
		for _, s := range spans.Ended() {
			count[s.Name()]++
		}
		spans.Reset()
		return count
	}

	require.NoError(t, p.Apply(t.Context(), w.blocks[:1], block.SourceP2P))
	require.Empty(t, ended(), "nobody records")

	ctx, root := tracer.Start(t.Context(), "root")
	require.NoError(t, p.Apply(ctx, w.blocks[1:3], block.SourceP2P))
	require.Equal(t, map[string]int{names.SpanVerify: 2, names.SpanExecute: 2, names.SpanCommit: 1}, ended())

	require.NoError(t, p.Apply(ctx, w.blocks[3:], block.SourceP2P))
	var attrs []string
	for _, s := range spans.Ended() {
		require.Equal(t, root.SpanContext().TraceID(), s.SpanContext().TraceID())
		for _, a := range s.Attributes() {
			attrs = append(attrs, string(a.Key)+"="+a.Value.String())
		}
	}
	require.Subset(t, attrs, []string{"block.from_height=4", "block.to_height=20", "block.count=17", "block.source=p2p"})
	require.Equal(t, map[string]int{names.SpanExecute: 1, names.SpanCommit: 1}, ended(), "one for the batch")

	require.NoError(t, p.Include(ctx, nil, 4))
	require.NoError(t, p.Include(ctx, seen(w.at(1), 5), 6))
	require.Equal(t, map[string]int{names.SpanInclude: 1}, ended())

	require.Error(t, p.Apply(ctx, []block.Block{{Header: w.at(20).Header.WithDAHint(0)}, {}}, block.SourceP2P))
	bad := seenHeader(w.at(2), 7)
	bad[0].Hash = block.Hash{}
	require.Error(t, p.Include(ctx, bad, 8))
	require.Equal(t, codes.Error, spans.Ended()[0].Status().Code)
	root.End()
}
