// Package tracelog puts trace ids into logs. It is a leaf, so that every module
// may use it.
package tracelog

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tandem-node/tandem/telemetry/names"
)

// IDs returns a field with trace_id and span_id of the span in ctx, or one that
// adds nothing when there is none.
func IDs(ctx context.Context) zap.Field { return Of(trace.SpanContextFromContext(ctx)) }

// Of is IDs for a span's own context.
func Of(s trace.SpanContext) zap.Field {
	if !s.IsValid() {
		return zap.Skip()
	}
	return zap.Inline(ids(s))
}

type ids trace.SpanContext

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (i ids) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	s := trace.SpanContext(i)
	enc.AddString(names.LogTraceID, s.TraceID().String())
	enc.AddString(names.LogSpanID, s.SpanID().String())
	return nil
}
