package instrumented_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/testutil"
)

// TestSpansLeadFromAppendToTheEvent: append, then publish below it, both in the
// trace of the block, and the event carries the latter.
func TestSpansLeadFromAppendToTheEvent(t *testing.T) {
	spans := testutil.NewSpans(t)
	n := notifier.New()
	sub := n.Subscribe()
	s := instrumented.Wrap[*block.SignedHeader](&shelf{}, n, notifier.Header, instrumented.Tracer(spans.Tracer()))
	require.NoError(t, s.Append(t.Context(), headers(1)[0]))

	write, publish := spans.Ended(names.SpanAppend)[0], spans.Ended(names.SpanPublish)[0]
	root := spans.Tracer().Root(1)
	require.Equal(t, root.TraceID(), write.SpanContext().TraceID())
	require.Equal(t, root.SpanID(), write.Parent().SpanID())
	require.Equal(t, root.TraceID(), publish.SpanContext().TraceID())
	require.Equal(t, write.SpanContext().SpanID(), publish.Parent().SpanID())
	require.Equal(t, trace.SpanKindProducer, publish.SpanKind())
	operation, _ := testutil.SpanAttr(publish, names.AttrMessagingOperation)
	require.Equal(t, "send", operation.AsString())
	e := notifiertest.Next(t, sub)
	require.Equal(t, [8]byte(publish.SpanContext().SpanID()), e.Span.SpanID)
	require.Equal(t, [16]byte(publish.SpanContext().TraceID()), e.Span.TraceID)
}

// TestAnAppendOfSeveralBlocksIsLinkedBothWays: a span of its own with links to the
// blocks, and one in the trace of each that links back.
func TestAnAppendOfSeveralBlocksIsLinkedBothWays(t *testing.T) {
	spans := testutil.NewSpans(t)
	s := instrumented.Wrap[*block.SignedHeader](&shelf{}, notifier.New(), notifier.Header, instrumented.Tracer(spans.Tracer()))
	require.NoError(t, s.Append(t.Context(), headers(3)...))

	byTrace := map[trace.TraceID]sdktrace.ReadOnlySpan{}
	var whole sdktrace.ReadOnlySpan
	for _, span := range spans.Ended(names.SpanAppend) {
		byTrace[span.SpanContext().TraceID()] = span
		if len(span.Links()) == 3 {
			whole = span
		}
	}
	require.Len(t, byTrace, 4)
	require.NotNil(t, whole)
	for i, link := range whole.Links() {
		root := spans.Tracer().Root(uint64(i + 1))
		require.Equal(t, root, link.SpanContext)
		one := byTrace[root.TraceID()]
		require.Equal(t, root.SpanID(), one.Parent().SpanID())
		require.Equal(t, whole.SpanContext(), one.Links()[0].SpanContext)
	}
}

// TestAnAppendOfManyBlocksIsOneSpan: far behind the head nothing is traced one by one.
func TestAnAppendOfManyBlocksIsOneSpan(t *testing.T) {
	spans := testutil.NewSpans(t)
	s := instrumented.Wrap[*block.SignedHeader](&shelf{}, notifier.New(), notifier.Header, instrumented.Tracer(spans.Tracer()))
	require.NoError(t, s.Append(t.Context(), headers(blocktrace.Few+1)...))
	require.Len(t, spans.Ended(names.SpanAppend), 1)
	require.Len(t, spans.Ended(names.SpanPublish), 1)
	require.Empty(t, spans.Ended(names.SpanAppend)[0].Links())
}

// TestTracingCostsNoMemoryWithoutARecordingSpan compares with a store without a tracer.
func TestTracingCostsNoMemoryWithoutARecordingSpan(t *testing.T) {
	sampledOut := telemetry.NewTracingTo(telemetry.TracingConfig{ServiceName: "t"}, sdktrace.NewSimpleSpanProcessor(nil))
	items := headers(1)
	cost := func(opts ...instrumented.Option) float64 {
		s := instrumented.Wrap[*block.SignedHeader](deaf{&shelf{}}, notifier.New(), notifier.Header, opts...)
		return testing.AllocsPerRun(100, func() { _ = s.Append(t.Context(), items...) })
	}
	bare := cost()
	require.InDelta(t, bare, cost(instrumented.Tracer(nil)), 0)
	require.InDelta(t, bare, cost(instrumented.Tracer(sampledOut.Tracer([32]byte{}))), 0)
}

// deaf takes appends and keeps nothing.
type deaf struct{ *shelf }

func (deaf) Append(context.Context, ...*block.SignedHeader) error { return nil }
