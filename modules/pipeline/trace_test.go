package pipeline_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/testutil"
)

func traced(t *testing.T, blocks int) (*world, *pipeline.Pipeline, *testutil.Spans) {
	t.Helper()
	spans := testutil.NewSpans(t)
	w := newWorld(t, blocks)
	with := w.params()
	with.Tracer = spans.Tracer()
	p := pipeline.New(with)
	require.NoError(t, p.Open(t.Context()))
	return w, p, spans
}

func count(spans *testutil.Spans) map[string]int {
	n := map[string]int{}
	for _, s := range spans.All() {
		n[s.Name()]++
	}
	return n
}

// TestOneBlockIsTracedInItsTrace: verify, execute and commit below the block's root.
func TestOneBlockIsTracedInItsTrace(t *testing.T) {
	w, p, spans := traced(t, 1)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, map[string]int{names.SpanVerify: 1, names.SpanExecute: 1, names.SpanCommit: 1}, count(spans))
	root := spans.Tracer().Root(1)
	for _, s := range spans.All() {
		require.Equal(t, root.TraceID(), s.SpanContext().TraceID(), s.Name())
		require.Equal(t, root.SpanID(), s.Parent().SpanID(), s.Name())
		source, _ := testutil.SpanAttr(s, names.AttrSource)
		require.Equal(t, "p2p", source.AsString())
	}
}

// TestFewBlocksAreTracedEach: the commit they share is linked with each of them.
func TestFewBlocksAreTracedEach(t *testing.T) {
	w, p, spans := traced(t, 2)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, map[string]int{names.SpanVerify: 2, names.SpanExecute: 2, names.SpanCommit: 3}, count(spans))
	for _, s := range spans.Ended(names.SpanCommit) {
		if len(s.Links()) == 2 {
			require.Equal(t, spans.Tracer().Root(1), s.Links()[0].SpanContext)
			require.Equal(t, spans.Tracer().Root(2), s.Links()[1].SpanContext)
			return
		}
	}
	t.Fatal("no commit links to both blocks")
}

// TestManyBlocksAreOneSpan: catching up is not traced block by block.
func TestManyBlocksAreOneSpan(t *testing.T) {
	w, p, spans := traced(t, 17)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	require.Equal(t, map[string]int{names.SpanExecute: 1, names.SpanCommit: 1}, count(spans), "one for the batch")
	var attrs []string
	for _, a := range spans.Ended(names.SpanCommit)[0].Attributes() {
		attrs = append(attrs, string(a.Key)+"="+a.Value.String())
	}
	require.ElementsMatch(t, attrs, []string{"block.from_height=1", "block.to_height=17", "block.count=17", "block.source=p2p"})
}

// TestWhatDAShowsIsMarkedInTheBlocksTrace, with a link to the report that brought it.
func TestWhatDAShowsIsMarkedInTheBlocksTrace(t *testing.T) {
	w, p, spans := traced(t, 2)
	require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
	spans.Reset()
	ctx, read := spans.Tracer().Work(t.Context(), names.SpanRetrieve, trace.SpanKindInternal)
	require.NoError(t, p.Include(ctx, seen(w.at(1), 5), upTo(6)))
	read.End()

	include := spans.Ended(names.SpanInclude)[0]
	require.Equal(t, read.Context().SpanID(), include.Parent().SpanID())
	marks := spans.Ended(names.SpanSeen)
	require.Len(t, marks, 2, "header and data")
	for _, m := range marks {
		require.Equal(t, spans.Tracer().Root(1).TraceID(), m.SpanContext().TraceID())
		require.Equal(t, include.SpanContext(), m.Links()[0].SpanContext)
		at, _ := testutil.SpanAttr(m, names.AttrDAHeight)
		require.Equal(t, int64(5), at.AsInt64())
	}
	final := spans.Ended(names.SpanFinal)
	require.Len(t, final, 1)
	require.Equal(t, spans.Tracer().Root(1).TraceID(), final[0].SpanContext().TraceID())
}

func TestFailuresShowInTheSpan(t *testing.T) {
	w, p, spans := traced(t, 2)
	require.Error(t, p.Apply(t.Context(), []block.Block{{Header: w.at(2).Header, Data: w.at(1).Data}}, block.SourceP2P))
	require.Empty(t, spans.All(), "a gap is found before any step")
	require.Error(t, p.Apply(t.Context(), []block.Block{{Header: w.at(1).Header, Data: w.at(2).Data}}, block.SourceP2P))
	require.Equal(t, codes.Error, spans.Ended(names.SpanVerify)[0].Status().Code)
}
