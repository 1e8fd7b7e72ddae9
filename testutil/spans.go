package testutil

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
)

// Spans records all spans that are made with its tracer.
type Spans struct {
	recorder *tracetest.SpanRecorder
	tracing  *telemetry.Tracing
}

// NewSpans returns a recorder that samples everything.
func NewSpans(tb testing.TB) *Spans {
	tb.Helper()
	r := tracetest.NewSpanRecorder()
	return &Spans{recorder: r, tracing: telemetry.NewTracingTo(telemetry.TracingConfig{SampleRatio: 1, ServiceName: "test"}, r)}
}

// Tracing returns what to hand to a whole node.
func (s *Spans) Tracing() *telemetry.Tracing { return s.tracing }

// Tracer returns the tracer to hand to the part under test. The genesis hash of
// its chain is zero.
func (s *Spans) Tracer() *blocktrace.Tracer { return s.tracing.Tracer([32]byte{}) }

// All returns the finished spans, in the order in which they ended.
func (s *Spans) All() []sdktrace.ReadOnlySpan { return s.recorder.Ended() }

// Ended returns the finished spans of a name, in the order in which they ended.
func (s *Spans) Ended(name string) []sdktrace.ReadOnlySpan {
	var out []sdktrace.ReadOnlySpan
	for _, span := range s.recorder.Ended() {
		if span.Name() == name {
			out = append(out, span)
		}
	}
	return out
}

// Open returns the names of spans that were started and not ended.
func (s *Spans) Open() []string {
	ended := map[trace.SpanID]bool{}
	for _, span := range s.recorder.Ended() {
		ended[span.SpanContext().SpanID()] = true
	}
	var out []string
	for _, span := range s.recorder.Started() {
		if !ended[span.SpanContext().SpanID()] {
			out = append(out, span.Name())
		}
	}
	return out
}

// Reset forgets what was recorded.
func (s *Spans) Reset() { s.recorder.Reset() }

// SpanAttr returns the value of a span's attribute.
func SpanAttr(span sdktrace.ReadOnlySpan, key string) (attribute.Value, bool) {
	for _, kv := range span.Attributes() {
		if string(kv.Key) == key {
			return kv.Value, true
		}
	}
	return attribute.Value{}, false
}
