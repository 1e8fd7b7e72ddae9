package blocktrace

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// rootLabel makes the hash of the root's span id another one than that of the
// trace id.
const rootLabel = "root"

// TraceID returns the first 16 bytes of SHA-256(genesis hash ‖ height), the height
// as eight bytes, big-endian.
func TraceID(genesis [32]byte, height uint64) trace.TraceID {
	var b [40]byte
	copy(b[:], genesis[:])
	binary.BigEndian.PutUint64(b[32:], height)
	sum := sha256.Sum256(b[:])
	return trace.TraceID(sum[:16])
}

// RootID returns the first 8 bytes of SHA-256(genesis hash ‖ height ‖ "root").
func RootID(genesis [32]byte, height uint64) trace.SpanID {
	var b [40 + len(rootLabel)]byte
	copy(b[:], genesis[:])
	binary.BigEndian.PutUint64(b[32:], height)
	copy(b[40:], rootLabel)
	sum := sha256.Sum256(b[:])
	return trace.SpanID(sum[:8])
}

type rootKey struct{}

// withRoot makes IDs give the next trace the ids of root.
func withRoot(ctx context.Context, root trace.SpanContext) context.Context {
	return context.WithValue(ctx, rootKey{}, root)
}

// IDs is the generator a tracer provider needs for the roots of blocks. All other
// ids are random.
type IDs struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g IDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if root, ok := ctx.Value(rootKey{}).(trace.SpanContext); ok {
		return root.TraceID(), root.SpanID()
	}
	var id trace.TraceID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // an id, no secret
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // an id, no secret
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (IDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // an id, no secret
	}
	return id
}

// Sampler keeps the given part of all traces, chosen by id as OpenTelemetry's
// TraceIDRatioBased does. A trace that is started with links is kept when one of
// them leads to a trace that is.
func Sampler(ratio float64) sdktrace.Sampler { return sdktrace.ParentBased(newPart(ratio)) }

// part is the ids below a bound, of which there are 2^63.
type part uint64

func newPart(ratio float64) part {
	const all = 1 << 63
	return part(min(max(ratio, 0), 1) * all)
}

func (p part) keeps(id trace.TraceID) bool { return binary.BigEndian.Uint64(id[8:])>>1 < uint64(p) }

// ShouldSample implements sdktrace.Sampler.
func (p part) ShouldSample(with sdktrace.SamplingParameters) sdktrace.SamplingResult {
	keep := p.keeps(with.TraceID)
	for _, l := range with.Links {
		keep = keep || l.SpanContext.IsSampled()
	}
	if keep {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

// Description implements sdktrace.Sampler.
func (p part) Description() string { return "part of the traces, by id, and what is linked to them" }
