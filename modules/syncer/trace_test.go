package syncer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/testutil"
)

// tracedBubble is bubble with a syncer and stores that are traced.
func tracedBubble(t *testing.T, f func(r *rig, spans *testutil.Spans)) {
	t.Helper()
	bubble(t, func(r *rig) {
		spans := testutil.NewSpans(r.t)
		r.params.Tracer = spans.Tracer()
		tracer := instrumented.Tracer(spans.Tracer())
		r.headerView = instrumented.Wrap[*block.SignedHeader](r.headers, r.events, notifier.Header, tracer)
		r.dataView = instrumented.Wrap[*block.Data](r.data, r.events, notifier.Data, tracer)
		f(r, spans)
	})
}

// TestOneBlockIsTracedFromEventToFetch: everything is in the trace of the block,
// below the event that completed it, and the other event is linked.
func TestOneBlockIsTracedFromEventToFetch(t *testing.T) {
	tracedBubble(t, func(r *rig, spans *testutil.Spans) {
		t := r.t
		r.start()
		synctest.Wait()
		r.addHeaders(r.headerView, 1, notifier.P2P)
		synctest.Wait()
		require.Empty(t, spans.Ended(names.SpanReceive), "nothing to do is no span")
		r.addData(r.dataView, 1, notifier.P2P)
		synctest.Wait()

		published := spans.Ended(names.SpanPublish)
		require.Len(t, published, 2)
		received := spans.Ended(names.SpanReceive)
		require.Len(t, received, 1)
		receive := received[0]
		require.Equal(t, spans.Tracer().Root(1).TraceID(), receive.SpanContext().TraceID())
		require.Equal(t, published[1].SpanContext().SpanID(), receive.Parent().SpanID(), "the data completed the block")
		require.Len(t, receive.Links(), 1)
		require.Equal(t, published[0].SpanContext().SpanID(), receive.Links()[0].SpanContext.SpanID())
		require.Equal(t, trace.SpanKindConsumer, receive.SpanKind())
		for key, want := range map[string]attribute.Value{
			names.AttrHeight: attribute.Int64Value(1), names.AttrMessagingCount: attribute.IntValue(2),
			names.AttrMessagingOperation: attribute.StringValue("process"), names.AttrMessagingDestination: attribute.StringValue("block_events"),
			names.AttrQueueWait: attribute.Int64Value(0),
		} {
			got, ok := testutil.SpanAttr(receive, key)
			require.True(t, ok, key)
			require.Equal(t, want, got, key)
		}
		queue, fetch, pair := spans.Ended(names.SpanQueue)[0], spans.Ended(names.SpanFetch)[0], spans.Ended(names.SpanPair)[0]
		require.Equal(t, receive.SpanContext().SpanID(), queue.Parent().SpanID())
		require.Equal(t, receive.SpanContext().SpanID(), fetch.Parent().SpanID())
		require.Equal(t, fetch.SpanContext().SpanID(), pair.Parent().SpanID())
	})
}

// pileUp adds one block and, while the slow sink is busy with it, n more.
func pileUp(r *rig, n int) {
	r.sink.slow = time.Second
	r.start()
	r.add(1, notifier.P2P)
	synctest.Wait()
	for range n {
		r.add(1, notifier.P2P)
	}
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

// TestAFetchOfSeveralBlocksLinksToAllEventsAndTheBlocksBack: while the sink is
// busy events pile up, and one fetch serves them.
func TestAFetchOfSeveralBlocksLinksToAllEventsAndTheBlocksBack(t *testing.T) {
	tracedBubble(t, func(r *rig, spans *testutil.Spans) {
		t := r.t
		pileUp(r, 3)

		var whole sdktrace.ReadOnlySpan
		copies := map[trace.TraceID]sdktrace.ReadOnlySpan{}
		for _, s := range spans.Ended(names.SpanReceive) {
			if count, _ := testutil.SpanAttr(s, names.AttrFromHeight); count.AsInt64() == 2 {
				whole = s
			}
			copies[s.SpanContext().TraceID()] = s
		}
		require.NotNil(t, whole)
		linked := map[trace.SpanID]bool{}
		for _, l := range whole.Links() {
			linked[l.SpanContext.SpanID()] = true
		}
		for height := uint64(2); height <= 4; height++ {
			root := spans.Tracer().Root(height)
			require.True(t, linked[root.SpanID()], "the fetch leads to block %d", height)
			one := copies[root.TraceID()]
			require.NotNil(t, one)
			require.Equal(t, whole.SpanContext().SpanID(), one.Links()[0].SpanContext.SpanID(), "and back")
		}
		for _, p := range spans.Ended(names.SpanPublish)[2:] {
			require.True(t, linked[p.SpanContext().SpanID()], "every event is linked")
		}
		wait, _ := testutil.SpanAttr(whole, names.AttrQueueWait)
		require.Equal(t, int64(1000), wait.AsInt64())
	})
}

// TestAFetchHasABoundedNumberOfLinks: the rest is counted.
func TestAFetchHasABoundedNumberOfLinks(t *testing.T) {
	tracedBubble(t, func(r *rig, spans *testutil.Spans) {
		t := r.t
		pileUp(r, 20)
		received := spans.Ended(names.SpanReceive)
		require.Len(t, received, 2, "far behind, one span per batch")
		require.Len(t, received[1].Links(), blocktrace.MaxLinks)
		cut, _ := testutil.SpanAttr(received[1], names.AttrLinksCut)
		require.Equal(t, int64(40-blocktrace.MaxLinks), cut.AsInt64())
	})
}

func TestFailedFetchIsSeenInItsSpan(t *testing.T) {
	tracedBubble(t, func(r *rig, spans *testutil.Spans) {
		r.fill(1)
		r.headers.failNext(errFlaky)
		r.start()
		synctest.Wait()
		require.Equal(r.t, "headers: flaky", spans.Ended(names.SpanFetch)[0].Status().Description)
	})
}

// TestTracingCostsNoMemoryWithoutARecordingSpan: neither off nor sampled out.
func TestTracingCostsNoMemoryWithoutARecordingSpan(t *testing.T) {
	out := telemetry.NewTracingTo(telemetry.TracingConfig{ServiceName: "t"}, sdktrace.NewSimpleSpanProcessor(nil))
	for name, tracer := range map[string]*blocktrace.Tracer{"off": nil, "sampled out": out.Tracer([32]byte{})} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.params.Tracer = tracer
			require.Zero(t, testing.AllocsPerRun(100, syncer.TraceOnce(t.Context(), r.params)))
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
