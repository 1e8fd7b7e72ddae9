package telemetry

import (
	"context"
	"encoding/hex"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// exemplars is the bridge's producer with the ids of exemplars as OTLP wants them:
// 16 and 8 bytes. It passes on the hex digits, for which collectors refuse everything.
type exemplars struct{ sdkmetric.Producer }

// Produce implements sdkmetric.Producer.
func (e exemplars) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	scopes, err := e.Producer.Produce(ctx)
	for _, scope := range scopes {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					decodeIDs(p.Exemplars)
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					decodeIDs(p.Exemplars)
				}
			}
		}
	}
	return scopes, err //nolint:wrapcheck // the SDK's own
}

func decodeIDs(all []metricdata.Exemplar[float64]) {
	for i := range all {
		for _, id := range []*[]byte{&all[i].TraceID, &all[i].SpanID} {
			raw, err := hex.DecodeString(string(*id))
			if err != nil {
				raw = nil // none is better than a wrong one
			}
			*id = raw
		}
	}
}
