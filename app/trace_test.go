package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/testutil"
)

// TestEventToFetchPathIsTraced follows one block through a whole node: append →
// publish → receive → fetch → verify → execute → commit, with a link from the
// receiver back to the publisher.
func TestEventToFetchPathIsTraced(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	s := setup(t, app.RoleFull)
	s.Tracing = telemetry.NewTracingTo(telemetry.TracingConfig{SampleRatio: 1, ServiceName: "t"}, recorder)
	s.Config.Execution.Name = execution.NameNoop
	chain := testutil.NewChain("c")
	chain.Root = noopRoot(t, s)
	var (
		headers app.Headers
		data    app.Data
		pipe    *pipeline.Pipeline
	)
	a := fx.New(app.Node(s, fx.Populate(&headers, &data, &pipe)))
	require.NoError(t, a.Start(t.Context()))
	// The first block may be found by the look at start, without any event.
	for range 2 {
		b, changed := chain.Next([]byte("k=v")), pipe.Changed()
		require.NoError(t, headers.Append(t.Context(), b.Header))
		require.NoError(t, data.Append(t.Context(), b.Data))
		<-changed
	}
	require.NoError(t, a.Stop(t.Context()))

	spans, published := map[string]sdktrace.ReadOnlySpan{}, map[string]bool{}
	for _, span := range recorder.Ended() {
		spans[span.Name()] = span
		if span.Name() == names.SpanPublish {
			published[span.SpanContext().SpanID().String()] = true
		}
	}
	for _, name := range []string{
		names.SpanAppend, names.SpanPublish, names.SpanReceive, names.SpanFetch, names.SpanVerify, names.SpanExecute, names.SpanCommit,
	} {
		require.Contains(t, spans, name)
	}
	receive := spans[names.SpanReceive]
	for _, name := range []string{names.SpanFetch, names.SpanVerify, names.SpanExecute, names.SpanCommit} {
		require.Equal(t, receive.SpanContext().TraceID(), spans[name].SpanContext().TraceID(), name)
	}
	require.NotEmpty(t, receive.Links(), "the receiver links to what woke it")
	for _, l := range receive.Links() {
		require.True(t, published[l.SpanContext.SpanID().String()])
	}
}

// noopRoot returns the roots of the executor that does nothing.
func noopRoot(t *testing.T, s app.Setup) func(uint64) []byte {
	t.Helper()
	e := execution.NewNoop(s.Config.Execution, s.Log)
	root, err := e.InitChain(t.Context(), s.Genesis)
	require.NoError(t, err)
	return func(uint64) []byte { return root }
}
