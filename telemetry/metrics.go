package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// Metrics is a meter and the registry its figures are read from.
type Metrics struct {
	Registry *prometheus.Registry
	provider *sdkmetric.MeterProvider
}

// NewMetrics returns a meter whose figures, and those of the Go runtime, are
// collected when the registry is read.
func NewMetrics() (*Metrics, error) {
	r := prometheus.NewRegistry()
	if err := r.Register(collectors.NewGoCollector()); err != nil {
		return nil, fmt.Errorf("metrics of the runtime: %w", err)
	}
	if err := r.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})); err != nil {
		return nil, fmt.Errorf("metrics of the process: %w", err)
	}
	exporter, err := otelprom.New(otelprom.WithRegisterer(r), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("metrics exporter: %w", err)
	}
	return &Metrics{Registry: r, provider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))}, nil
}

// Meter returns the meter the node's parts are given.
func (m *Metrics) Meter() metric.Meter { return m.provider.Meter(scope) }
