package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-node/tandem/telemetry/names"
)

// descriptor is how Prometheus knows a row of the table of metrics.
type descriptor struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func descriptors() map[string]descriptor {
	all := map[string]descriptor{}
	for _, m := range names.Metrics() {
		d := descriptor{prometheus.NewDesc(m.Name, m.Meaning, m.Labels, nil), prometheus.GaugeValue}
		if m.Type == names.Counter {
			d.kind = prometheus.CounterValue
		}
		all[m.Name] = d
	}
	return all
}

// emitter sends figures of the table.
type emitter struct {
	known map[string]descriptor
	ch    chan<- prometheus.Metric
}

// put sends one figure, with the values of its labels in the order of the table.
// One that is not as the table says fails the whole answer.
func put[N int | uint64 | float64](e emitter, name string, value N, labels ...string) {
	d, ok := e.known[name]
	if !ok {
		d.desc = prometheus.NewInvalidDesc(fmt.Errorf("metric %s is not in the table", name))
	}
	m, err := prometheus.NewConstMetric(d.desc, d.kind, float64(value), labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d.desc, fmt.Errorf("metric %s: %w", name, err))
	}
	e.ch <- m
}

// bounded is what one queue or cache holds, and its bound.
func (e emitter) bounded(part string, bytes, limit int) {
	put(e, names.MetricHeld, max(bytes, 0), part)
	put(e, names.MetricHeldLimit, max(limit, 0), part)
}

// yes is 1 for true.
func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}
