package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry/blocktrace"
)

// queuedSpans may wait to be sent; more are dropped. It is some hundred blocks.
const queuedSpans = 8192

// sendEvery is how long finished spans wait for others at most.
const sendEvery = time.Second

// scope names the tracer all modules share.
const scope = "github.com/tandem-node/tandem"

// Tracing is a tracer provider and what ends it.
type Tracing struct {
	Provider trace.TracerProvider
	ratio    float64
	shutdown func(context.Context) error
}

// NewTracing returns a provider that exports over OTLP, or one that does
// nothing when there is no endpoint. Nothing is dialled before the first span;
// a collector that is away costs spans and a line in the log, never the node.
func NewTracing(ctx context.Context, cfg TracingConfig, log *zap.Logger) (*Tracing, error) {
	if cfg.Endpoint == "" {
		return &Tracing{Provider: noop.NewTracerProvider(), shutdown: func(context.Context) error { return nil }}, nil
	}
	exporter, err := newExporter(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint %s: %w", cfg.Endpoint, err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	sent := &sentSpans{exporter, outcome{what: "spans", to: cfg.Endpoint, log: log}, life}
	t := newTracing(cfg, sdktrace.NewBatchSpanProcessor(sent, sdktrace.WithMaxQueueSize(queuedSpans), sdktrace.WithBatchTimeout(sendEvery)))
	flush := t.shutdown
	t.shutdown = func(ctx context.Context) error {
		defer end() // what the collector has not taken by then is given up
		return flush(ctx)
	}
	return t, nil
}

// NewTracingTo returns a provider that hands finished spans to a processor, for
// tests and in-process viewers.
func NewTracingTo(cfg TracingConfig, p sdktrace.SpanProcessor) *Tracing { return newTracing(cfg, p) }

func newTracing(cfg TracingConfig, p sdktrace.SpanProcessor) *Tracing {
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(p),
		sdktrace.WithSampler(blocktrace.Sampler(cfg.SampleRatio)),
		sdktrace.WithIDGenerator(blocktrace.IDs{}),
		sdktrace.WithResource(cfg.resource()),
	)
	return &Tracing{Provider: provider, ratio: cfg.SampleRatio, shutdown: provider.Shutdown}
}

// resource says whose spans and metrics these are.
func (c TracingConfig) resource() *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", c.ServiceName), attribute.String("service.instance.id", c.InstanceID))
}

func newExporter(ctx context.Context, cfg TracingConfig) (*otlptrace.Exporter, error) {
	to, err := collectorURL(cfg.Endpoint, "traces")
	if err != nil {
		return nil, err
	}
	if cfg.Protocol == "http" {
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(to.String())) //nolint:wrapcheck // the caller names the endpoint
	}
	return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(to.String())) //nolint:wrapcheck // the caller names the endpoint
}

// Tracer returns the tracer the node's parts are given. The traces of blocks are
// those of the chain with this genesis.
func (t *Tracing) Tracer(genesis [32]byte) *blocktrace.Tracer {
	return blocktrace.New(t.Provider.Tracer(scope), genesis, t.ratio)
}

// Shutdown sends the spans that are left, as far as that takes no longer than lastSend,
// and ends the provider.
func (t *Tracing) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastSend)
	defer cancel()
	return t.shutdown(ctx)
}
