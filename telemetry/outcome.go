package telemetry

import (
	"context"
	"sync"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// outcome logs when sending begins to fail and when it works again, instead of
// every failure.
type outcome struct {
	what, to string
	log      *zap.Logger

	mu   sync.Mutex
	fail bool
}

func (o *outcome) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch fields := []zap.Field{zap.String("what", o.what), zap.String("endpoint", o.to)}; {
	case err != nil && !o.fail:
		o.log.Warn("the collector does not take what is sent; the node goes on without", append(fields, zap.Error(err))...)
	case err == nil && o.fail:
		o.log.Info("the collector takes what is sent again", fields...)
	}
	o.fail = err != nil
}

// sentSpans is an exporter of spans whose failures are logged here.
type sentSpans struct {
	sdktrace.SpanExporter
	outcome

	life context.Context //nolint:containedctx // ends exports that outlive the stop: the SDK gives them 30 s
}

func (s *sentSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)() //nolint:contextcheck // it ends the other one
	s.note(s.SpanExporter.ExportSpans(ctx, spans))
	return nil
}

// sentMetrics is an exporter of metrics whose failures are logged here.
type sentMetrics struct {
	sdkmetric.Exporter
	outcome
}

func (s *sentMetrics) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	s.note(s.Exporter.Export(ctx, m))
	return nil
}
