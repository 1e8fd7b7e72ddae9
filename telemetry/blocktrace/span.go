package blocktrace

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Span is a span and its copies in the traces of single blocks. The zero value
// records nothing.
type Span struct{ r *recorded }

// recorded are spans that end together. The first is the one that a context, an
// event or a link carries; the others are its copies.
type recorded struct{ spans []trace.Span }

func spanOf(s trace.Span) Span { return Span{&recorded{[]trace.Span{s}}} }

// Recording reports whether anything that is set is kept. Attributes cost, so
// they are made only then.
func (s Span) Recording() bool { return s.r != nil }

// Context returns what an event or a link carries; zero when not recorded.
func (s Span) Context() trace.SpanContext {
	if s.r == nil {
		return trace.SpanContext{}
	}
	return s.r.spans[0].SpanContext()
}

// SetAttributes sets attributes on the span and its copies.
func (s Span) SetAttributes(kv ...attribute.KeyValue) {
	if s.r == nil {
		return
	}
	for _, one := range s.r.spans {
		one.SetAttributes(kv...)
	}
}

// Fail marks the span as failed; nil does nothing. It returns err.
func (s Span) Fail(err error) error {
	if err != nil && s.r != nil {
		for _, one := range s.r.spans {
			one.SetStatus(codes.Error, err.Error())
		}
	}
	return err
}

// End ends the span and its copies.
func (s Span) End() {
	if s.r != nil {
		s.r.end()
	}
}

func (r *recorded) end() {
	for _, one := range r.spans {
		one.End()
	}
}
