package stages_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/telemetry/stages"
)

func TestExemplarsCarryTheTrace(t *testing.T) {
	m, err := telemetry.NewMetrics()
	require.NoError(t, err)
	r, err := stages.New(m.Meter())
	require.NoError(t, err)
	sampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	r.Final(trace.ContextWithSpanContext(t.Context(), sampled), 2*time.Second)
	r.Final(t.Context(), 20*time.Second)

	families, err := m.Registry.Gather()
	require.NoError(t, err)
	var traces []string
	for _, f := range families {
		if f.GetName() != names.MetricStage {
			continue
		}
		require.Len(t, f.GetMetric(), 1)
		require.Equal(t, names.StageFinal, f.GetMetric()[0].GetLabel()[0].GetValue())
		require.Equal(t, uint64(2), f.GetMetric()[0].GetHistogram().GetSampleCount())
		require.InDelta(t, 22, f.GetMetric()[0].GetHistogram().GetSampleSum(), 0)
		for _, b := range f.GetMetric()[0].GetHistogram().GetBucket() {
			for _, l := range b.GetExemplar().GetLabel() {
				if l.GetName() == "trace_id" {
					traces = append(traces, l.GetValue())
				}
			}
		}
	}
	require.Equal(t, []string{sampled.TraceID().String()}, traces, "only the sampled one is an exemplar")
}

func TestRecordingAllocatesNothing(t *testing.T) {
	m, err := telemetry.NewMetrics()
	require.NoError(t, err)
	r, err := stages.New(m.Meter())
	require.NoError(t, err)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { r.Applied(ctx, time.Second) }))
	var none *stages.Recorder
	none.Fetched(ctx, time.Second)
	none.Applied(ctx, time.Second)
	none.Final(ctx, time.Second)
}
