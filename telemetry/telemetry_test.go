package telemetry_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/tracelog"
)

func TestJSONLogsCarryTraceIDs(t *testing.T) {
	var out bytes.Buffer
	log, levels, err := telemetry.NewLogger(telemetry.LogConfig{Level: "info", Format: "json"}, &out)
	require.NoError(t, err)
	recorder := tracetest.NewSpanRecorder()
	tracing := telemetry.NewTracingTo(telemetry.TracingConfig{SampleRatio: 1, ServiceName: "s", InstanceID: "i"}, recorder)
	ctx, span := tracing.Provider.Tracer("").Start(t.Context(), "work")
	log.Info("said", tracelog.IDs(ctx), tracelog.IDs(t.Context()))
	log.Debug("not said")
	require.NoError(t, levels.Set(telemetry.LevelSettings{Level: "debug"}))
	log.Debug("said too")
	span.End()
	require.NoError(t, tracing.Shutdown(t.Context()))

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	var first map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.Equal(t, span.SpanContext().TraceID().String(), first["trace_id"])
	require.Equal(t, span.SpanContext().SpanID().String(), first["span_id"])
	require.Len(t, recorder.Ended(), 1)
	require.Contains(t, recorder.Ended()[0].Resource().String(), "service.instance.id=i")
}

func TestTracingIsOffByDefault(t *testing.T) {
	tracing, err := telemetry.NewTracing(t.Context(), telemetry.Default().Tracing, zap.NewNop())
	require.NoError(t, err)
	_, span := tracing.Provider.Tracer("").Start(t.Context(), "work")
	defer span.End()
	require.False(t, span.IsRecording())
	require.NoError(t, tracing.Shutdown(t.Context()))
}

func TestNothingIsSampledAtRatioZero(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	var processor sdktrace.SpanProcessor = recorder
	tracing := telemetry.NewTracingTo(telemetry.TracingConfig{ServiceName: "s"}, processor)
	_, span := tracing.Provider.Tracer("").Start(t.Context(), "work")
	span.End()
	require.Empty(t, recorder.Ended())
}

func TestMetricsAreReadFromTheRegistry(t *testing.T) {
	m, err := telemetry.NewMetrics()
	require.NoError(t, err)
	counter, err := m.Meter().Int64Counter("tandem_things")
	require.NoError(t, err)
	counter.Add(t.Context(), 3)
	families, err := m.Registry.Gather()
	require.NoError(t, err)
	names := map[string]float64{}
	for _, f := range families {
		names[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	require.InDelta(t, 3, names["tandem_things_total"], 0)
	require.Contains(t, names, "go_goroutines")
}

func TestConfigErrorsNameKeyAndValue(t *testing.T) {
	tests := map[string]func(*telemetry.Config){
		`log.level is "loud"`:           func(c *telemetry.Config) { c.Log.Level = "loud" },
		`log.levels has "syncer"`:       func(c *telemetry.Config) { c.Log.Levels = []string{"syncer"} },
		`there is no module "sink"`:     func(c *telemetry.Config) { c.Log.Levels = []string{"sink=debug"} },
		`syncer: level is "loud"`:       func(c *telemetry.Config) { c.Log.Levels = []string{"syncer=loud"} },
		`log.format is "xml"`:           func(c *telemetry.Config) { c.Log.Format = "xml" },
		`tracing.protocol is "udp"`:     func(c *telemetry.Config) { c.Tracing.Protocol = "udp" },
		`tracing.sample_ratio is 2`:     func(c *telemetry.Config) { c.Tracing.SampleRatio = 2 },
		`tracing.endpoint is "x"`:       func(c *telemetry.Config) { c.Tracing.Endpoint = "x" },
		`tracing.service_name is empty`: func(c *telemetry.Config) { c.Tracing.Endpoint, c.Tracing.ServiceName = "x:1", "" },
		`endpoint is "ftp://x:1"`:       func(c *telemetry.Config) { c.Tracing.Endpoint = "ftp://x:1" },
		`want no path: metrics.prot`:    func(c *telemetry.Config) { c.Metrics.Endpoint = "http://x:1/otlp" },
		`metrics.endpoint is ":1"`:      func(c *telemetry.Config) { c.Metrics.Endpoint = ":1" },
		`metrics.protocol is "udp"`:     func(c *telemetry.Config) { c.Metrics.Protocol = "udp" },
		`metrics.interval is 10ms`:      func(c *telemetry.Config) { c.Metrics.Interval = 10 * time.Millisecond },
		`want a name for y:1`:           func(c *telemetry.Config) { c.Metrics.Endpoint, c.Tracing.ServiceName = "y:1", "" },
	}
	for want, breakIt := range tests {
		c := telemetry.Default()
		require.NoError(t, c.Validate())
		breakIt(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}
