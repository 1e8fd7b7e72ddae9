package telemetry

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/zap"
)

// lastSend bounds how long a stop waits for a collector to take the last figures, and
// again for the last spans. A node stops within 2 s, also when its collector hangs.
const lastSend = 700 * time.Millisecond

// Push sends what /metrics serves to an OTLP collector, from Start to Stop.
type Push struct {
	to       MetricsConfig
	from     TracingConfig
	gatherer prometheus.Gatherer
	log      *zap.Logger
	provider *sdkmetric.MeterProvider
}

// NewPush returns a Push to a collector, under the names of traces. Nothing is
// dialled before Start.
func NewPush(to MetricsConfig, from TracingConfig, gatherer prometheus.Gatherer, log *zap.Logger) *Push {
	return &Push{to: to, from: from, gatherer: gatherer, log: log}
}

// Start begins to send, every interval. Without an endpoint it does nothing. A
// collector that is away costs figures and a line in the log, never the node.
func (p *Push) Start(ctx context.Context) error {
	if p.to.Endpoint == "" {
		return nil
	}
	exporter, err := p.exporter(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("metrics.endpoint %s: %w", p.to.Endpoint, err)
	}
	sent := &sentMetrics{exporter, outcome{what: "metrics", to: p.to.Endpoint, log: p.log}}
	p.provider = sdkmetric.NewMeterProvider(sdkmetric.WithResource(p.from.resource()), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(sent,
		sdkmetric.WithInterval(p.to.Interval), sdkmetric.WithTimeout(p.to.Interval),
		sdkmetric.WithProducer(exemplars{bridge.NewMetricProducer(bridge.WithGatherer(p.gatherer))}),
	)))
	return nil
}

func (p *Push) exporter(ctx context.Context) (sdkmetric.Exporter, error) {
	to, err := collectorURL(p.to.Endpoint, "metrics")
	if err != nil {
		return nil, err
	}
	if p.to.Protocol == "http" {
		return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(to.String())) //nolint:wrapcheck // the caller names the endpoint
	}
	return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpointURL(to.String())) //nolint:wrapcheck // the caller names the endpoint
}

// Stop sends the last figures and ends.
func (p *Push) Stop(ctx context.Context) error {
	if p.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lastSend)
	defer cancel()
	if err := p.provider.Shutdown(ctx); err != nil {
		p.log.Warn("last metrics not sent", zap.String("endpoint", p.to.Endpoint), zap.Error(err))
	}
	return nil
}
