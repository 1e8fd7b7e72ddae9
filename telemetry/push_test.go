package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/telemetry"
)

// sink is an OTLP collector of metrics, over gRPC and HTTP.
type sink struct {
	collector.UnimplementedMetricsServiceServer
	got chan *collector.ExportMetricsServiceRequest
}

func (s *sink) Export(_ context.Context, r *collector.ExportMetricsServiceRequest) (*collector.ExportMetricsServiceResponse, error) {
	select {
	case s.got <- r:
	default: // enough
	}
	return &collector.ExportMetricsServiceResponse{}, nil
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	req := &collector.ExportMetricsServiceRequest{}
	if err != nil || r.URL.Path != "/v1/metrics" || proto.Unmarshal(raw, req) != nil {
		http.Error(w, "not metrics", http.StatusBadRequest)
		return
	}
	_, _ = s.Export(r.Context(), req)
}

// serve returns where the collector listens.
func (s *sink) serve(t *testing.T, protocol, address string) string {
	t.Helper()
	if protocol == "http" {
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		return strings.TrimPrefix(srv.URL, "http://")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	srv := grpc.NewServer()
	collector.RegisterMetricsServiceServer(srv, s)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		require.NoError(t, <-done)
	})
	return l.Addr().String()
}

func things() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "tandem_things_total", Help: "Things."}, func() float64 { return 3 }))
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tandem_took_seconds", Help: "Took.", Buckets: []float64{1, 2}})
	h.(prometheus.ExemplarObserver).ObserveWithExemplar(1.5, prometheus.Labels{"trace_id": strings.Repeat("ab", 16), "span_id": strings.Repeat("cd", 8)}) //nolint:forcetypeassert // documented
	r.MustRegister(h)
	return r
}

func byName(r *collector.ExportMetricsServiceRequest) map[string]*metrics.Metric {
	found := map[string]*metrics.Metric{}
	for _, scope := range r.GetResourceMetrics()[0].GetScopeMetrics() {
		for _, m := range scope.GetMetrics() {
			found[m.GetName()] = m
		}
	}
	return found
}

// Both protocols carry what /metrics serves, under the names of the node.
func TestPush(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			s := &sink{got: make(chan *collector.ExportMetricsServiceRequest, 1)}
			to := telemetry.MetricsConfig{Endpoint: s.serve(t, protocol, "127.0.0.1:0"), Protocol: protocol, Interval: 20 * time.Millisecond}
			p := telemetry.NewPush(to, telemetry.TracingConfig{ServiceName: "tandem", InstanceID: "full-1"}, things(), zap.NewNop())
			require.NoError(t, p.Start(t.Context()))
			first := <-s.got
			require.NoError(t, p.Stop(t.Context()))
			who := map[string]string{}
			for _, a := range first.GetResourceMetrics()[0].GetResource().GetAttributes() {
				who[a.GetKey()] = a.GetValue().GetStringValue()
			}
			require.Equal(t, map[string]string{"service.name": "tandem", "service.instance.id": "full-1"}, who)
			got := byName(first)
			require.InDelta(t, 3, got["tandem_things_total"].GetSum().GetDataPoints()[0].GetAsDouble(), 0)
			took := got["tandem_took_seconds"].GetHistogram().GetDataPoints()[0]
			require.Equal(t, []uint64{0, 1, 0}, took.GetBucketCounts())
			require.Equal(t, bytes.Repeat([]byte{0xab}, 16), took.GetExemplars()[0].GetTraceId())
			require.Equal(t, bytes.Repeat([]byte{0xcd}, 8), took.GetExemplars()[0].GetSpanId())
		})
	}
}

// The figures of the end are sent, however long the interval.
func TestPushAtStop(t *testing.T) {
	s := &sink{got: make(chan *collector.ExportMetricsServiceRequest, 1)}
	to := telemetry.MetricsConfig{Endpoint: s.serve(t, "grpc", "127.0.0.1:0"), Protocol: "grpc", Interval: time.Hour}
	p := telemetry.NewPush(to, telemetry.Default().Tracing, things(), zap.NewNop())
	require.NoError(t, p.Start(t.Context()))
	require.Empty(t, s.got)
	require.NoError(t, p.Stop(t.Context()))
	require.Contains(t, byName(<-s.got), "tandem_things_total")
}

// An endpoint may be a URL: with a path of its own, and encrypted.
func TestPushToURL(t *testing.T) {
	s := &sink{got: make(chan *collector.ExportMetricsServiceRequest, 1)}
	const path = "/api/v1/otlp/v1/metrics" // of Prometheus
	elsewhere := httptest.NewServer(http.StripPrefix("/api/v1/otlp", s))
	defer elsewhere.Close()
	to := telemetry.MetricsConfig{Endpoint: elsewhere.URL + path, Protocol: "http", Interval: time.Hour}
	p := telemetry.NewPush(to, telemetry.Default().Tracing, things(), zap.NewNop())
	require.NoError(t, p.Start(t.Context()))
	require.NoError(t, p.Stop(t.Context()))
	require.Contains(t, byName(<-s.got), "tandem_things_total")

	encrypted := httptest.NewTLSServer(s) // whose certificate nobody here trusts
	encrypted.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	defer encrypted.Close()
	core, logs := observer.New(zap.InfoLevel)
	to.Endpoint = encrypted.URL
	p = telemetry.NewPush(to, telemetry.Default().Tracing, things(), zap.New(core))
	require.NoError(t, p.Start(t.Context()))
	require.NoError(t, p.Stop(t.Context()))
	require.Equal(t, 1, logs.Len())
	require.Contains(t, logs.All()[0].ContextMap()["error"], "certificate")
	require.Empty(t, s.got)
}

// Spans go to a collector over HTTP too, and one that is away is said once.
func TestSpansAreSent(t *testing.T) {
	got := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + string(raw)
	}))
	address := strings.TrimPrefix(srv.URL, "http://")
	core, logs := observer.New(zap.InfoLevel)
	cfg := telemetry.TracingConfig{Endpoint: address, Protocol: "http", SampleRatio: 1, ServiceName: "tandem", InstanceID: "full-1"}
	tracing, err := telemetry.NewTracing(t.Context(), cfg, zap.New(core))
	require.NoError(t, err)
	_, span := tracing.Provider.Tracer("").Start(t.Context(), "work on it")
	span.End()
	sent := <-got
	for _, part := range []string{"/v1/traces", "work on it", "full-1"} {
		require.Contains(t, sent, part)
	}
	srv.Close()
	for range 2 {
		_, span = tracing.Provider.Tracer("").Start(t.Context(), "for nobody")
		span.End()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		flush, ok := tracing.Provider.(interface {
			ForceFlush(ctx context.Context) error
		})
		require.True(t, ok)
		_ = flush.ForceFlush(ctx) // it gives up, with or without an error
		cancel()
	}
	require.NoError(t, tracing.Shutdown(t.Context()))
	require.Equal(t, 1, logs.Len(), "%+v", logs.All())
	require.Equal(t, "spans", logs.All()[0].ContextMap()["what"])
}

func TestPushToNobody(t *testing.T) {
	p := telemetry.NewPush(telemetry.Default().Metrics, telemetry.Default().Tracing, things(), zap.NewNop())
	require.NoError(t, p.Start(t.Context()))
	require.NoError(t, p.Stop(t.Context()))
}

// A collector that is away is said once, and once when it is back; the node stops in
// time.
func TestPushWithoutCollector(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	core, logs := observer.New(zap.InfoLevel)
	to := telemetry.MetricsConfig{Endpoint: address, Protocol: "grpc", Interval: 50 * time.Millisecond}
	p := telemetry.NewPush(to, telemetry.Default().Tracing, things(), zap.New(core))
	require.NoError(t, p.Start(t.Context()))
	require.Eventually(t, func() bool { return logs.Len() > 0 }, time.Minute, time.Millisecond)
	said := logs.All()[0]
	require.Equal(t, zap.WarnLevel, said.Level)
	require.Equal(t, address, said.ContextMap()["endpoint"])
	require.Equal(t, "metrics", said.ContextMap()["what"])
	s := &sink{got: make(chan *collector.ExportMetricsServiceRequest, 1)}
	s.serve(t, "grpc", address)
	<-s.got
	require.Eventually(t, func() bool { return logs.Len() > 1 }, time.Minute, time.Millisecond)
	require.Equal(t, zap.InfoLevel, logs.All()[1].Level)
	require.NoError(t, p.Stop(t.Context()))
	require.Equal(t, 2, logs.Len())
}

// A collector that takes connections and never answers delays a stop by less than 2 s,
// figures and spans together.
func TestStopWithCollectorThatHangs(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // its backlog takes connections
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		cfg := telemetry.Default().Tracing
		cfg.Endpoint, cfg.Protocol, cfg.SampleRatio = l.Addr().String(), protocol, 1
		tracing, err := telemetry.NewTracing(t.Context(), cfg, zap.NewNop())
		require.NoError(t, err)
		_, span := tracing.Provider.Tracer("test").Start(t.Context(), "last")
		span.End()
		p := telemetry.NewPush(telemetry.MetricsConfig{Endpoint: l.Addr().String(), Protocol: protocol, Interval: time.Hour}, cfg, things(), zap.NewNop())
		require.NoError(t, p.Start(t.Context()))
		begin := time.Now()
		require.NoError(t, p.Stop(t.Context()))
		require.Error(t, tracing.Shutdown(t.Context()), "the last span was not sent")
		require.Less(t, time.Since(begin), 2*time.Second)
	}
}
