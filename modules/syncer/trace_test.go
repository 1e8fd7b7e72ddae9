package syncer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry/names"
)

func TestSpansLinkToWhatCausedTheEvents(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		spans := tracetest.NewSpanRecorder()
		r.params.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
		r.start()
		synctest.Wait()
		cause := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
		})
		r.addHeaders(r.headerView, 2, notifier.P2P)
		synctest.Wait()
		require.Empty(t, spans.Ended(), "nothing to do is no span")
		ctx := trace.ContextWithSpanContext(t.Context(), cause)
		require.NoError(t, r.dataView.Append(instrumented.WithSource(ctx, notifier.P2P), chain()[0].Data, chain()[1].Data))
		synctest.Wait()

		ended := spans.Ended()
		require.Len(t, ended, 2)
		fetch, receive := ended[0], ended[1]
		require.Equal(t, names.SpanFetch, fetch.Name())
		require.Equal(t, receive.SpanContext().SpanID(), fetch.Parent().SpanID())
		require.Equal(t, []attribute.KeyValue{
			attribute.Int64(names.AttrFromHeight, 1), attribute.Int64(names.AttrToHeight, 2), attribute.Int(names.AttrBlockCount, 2),
		}, fetch.Attributes())
		require.Equal(t, names.SpanReceive, receive.Name())
		require.Equal(t, trace.SpanKindConsumer, receive.SpanKind())
		require.Len(t, receive.Links(), 1)
		require.Equal(t, cause, receive.Links()[0].SpanContext)
	})
}

func TestFailedFetchIsSeenInItsSpan(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		spans := tracetest.NewSpanRecorder()
		r.params.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
		r.fill(1)
		r.headers.failNext(errFlaky)
		r.start()
		synctest.Wait()
		require.Equal(t, "headers: flaky", spans.Ended()[0].Status().Description)
	})
}

func TestTracingThatIsOffCostsNothing(t *testing.T) {
	for name, tracer := range map[string]trace.Tracer{"nil": nil, "noop": noop.NewTracerProvider().Tracer("")} {
		t.Run(name, func(t *testing.T) {
			require.Zero(t, testing.AllocsPerRun(100, syncer.TraceOnce(t.Context(), tracer)))
		})
	}
}

func TestStatsMayBeReadWhileItRuns(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.sink.slow = time.Millisecond
		r.start()
		for range 50 {
			r.add(1, notifier.P2P)
			st := r.syncer.Stats()
			require.LessOrEqual(t, st.Blocks, st.Head)
		}
		time.Sleep(time.Second)
		require.Equal(t, uint64(50), r.syncer.Stats().Blocks)
	})
}
