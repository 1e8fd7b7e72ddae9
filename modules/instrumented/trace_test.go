package instrumented_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
	"github.com/tandem-node/tandem/telemetry/names"
)

// TestSpansLeadFromAppendToTheEvent: append, then publish below it, and the
// event carries the latter.
func TestSpansLeadFromAppendToTheEvent(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("")
	n := notifier.New()
	sub := n.Subscribe()
	s := instrumented.Wrap[*block.SignedHeader](&shelf{}, n, notifier.Header, instrumented.Tracer(tracer))
	require.NoError(t, s.Append(t.Context(), headers(1)[0]))

	spans := recorder.Ended()
	require.Len(t, spans, 2)
	publish, write := spans[0], spans[1]
	require.Equal(t, names.SpanAppend, write.Name())
	require.Equal(t, names.SpanPublish, publish.Name())
	require.Equal(t, write.SpanContext().SpanID(), publish.Parent().SpanID())
	require.Equal(t, trace.SpanKindProducer, publish.SpanKind())
	e := notifiertest.Next(t, sub)
	require.Equal(t, [8]byte(publish.SpanContext().SpanID()), e.Span.SpanID)
	require.Equal(t, [16]byte(publish.SpanContext().TraceID()), e.Span.TraceID)
}
