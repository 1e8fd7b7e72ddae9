// Package stages measures what the stages of a block's path take, one record per
// group of blocks. Records of a sampled trace become exemplars.
//
// A nil Recorder measures nothing.
package stages

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tandem-node/tandem/telemetry/names"
)

// Recorder records durations. Its methods may be called at any time.
type Recorder struct {
	seconds             metric.Float64Histogram
	fetch, apply, final []metric.RecordOption
}

// New returns a recorder whose figures the meter collects.
func New(m metric.Meter) (*Recorder, error) {
	r := &Recorder{fetch: of(names.StageFetch), apply: of(names.StageApply), final: of(names.StageFinal)}
	var err error
	r.seconds, err = m.Float64Histogram(names.MetricStage, metric.WithUnit("s"), metric.WithDescription(meaning()),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800))
	if err != nil {
		return nil, fmt.Errorf("histogram of stages: %w", err)
	}
	return r, nil
}

func of(stage string) []metric.RecordOption {
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String(names.LabelStage, stage)))}
}

func meaning() string {
	for _, m := range names.Metrics() {
		if m.Name == names.MetricStage {
			return m.Meaning
		}
	}
	return ""
}

// Fetched records the time from an event to the read it led to.
func (r *Recorder) Fetched(ctx context.Context, took time.Duration) {
	if r != nil {
		r.seconds.Record(ctx, took.Seconds(), r.fetch...)
	}
}

// Applied records the time from the read of a range of blocks to its last commit.
func (r *Recorder) Applied(ctx context.Context, took time.Duration) {
	if r != nil {
		r.seconds.Record(ctx, took.Seconds(), r.apply...)
	}
}

// Final records the time from when a block was applied to when it became final.
func (r *Recorder) Final(ctx context.Context, took time.Duration) {
	if r != nil {
		r.seconds.Record(ctx, took.Seconds(), r.final...)
	}
}
