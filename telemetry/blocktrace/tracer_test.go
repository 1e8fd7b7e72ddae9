package blocktrace_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
)

var genesis = sha256.Sum256([]byte("a chain"))

func newTracer(ratio float64) (*blocktrace.Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(blocktrace.Sampler(ratio)),
		sdktrace.WithIDGenerator(blocktrace.IDs{}))
	return blocktrace.New(provider.Tracer(""), genesis, ratio), recorder
}

// TestIDsAreHashesOfGenesisAndHeight holds the ids against hashes computed by
// other means (sha256sum): other nodes compute the same.
func TestIDsAreHashesOfGenesisAndHeight(t *testing.T) {
	plain := append(genesis[:], 0, 0, 0, 0, 0, 0, 4, 18)
	sum := sha256.Sum256(plain)
	require.Equal(t, hex.EncodeToString(sum[:16]), blocktrace.TraceID(genesis, 1042).String())
	sum = sha256.Sum256(append(plain, "root"...))
	require.Equal(t, hex.EncodeToString(sum[:8]), blocktrace.RootID(genesis, 1042).String())
	require.Equal(t, "08e00266fff0aacc64974f22a53622a7", blocktrace.TraceID([32]byte{}, 1).String())
	require.Equal(t, "3622213a56c1c4c0", blocktrace.RootID([32]byte{}, 1).String())
}

// TestTheMakerStartsTheRoot with the ids every other node computes.
func TestTheMakerStartsTheRoot(t *testing.T) {
	maker, made := newTracer(1)
	follower, followed := newTracer(1)
	ctx, root := maker.Make(t.Context(), "make", 7)
	_, step := maker.Step(ctx, "step")
	step.End()
	root.End()
	_, span := follower.Start(t.Context(), "follow", blocktrace.One(7))
	span.End()

	spans := append(made.Ended(), followed.Ended()...)
	require.Len(t, spans, 3)
	want := follower.Root(7)
	require.Equal(t, want.SpanID(), spans[1].SpanContext().SpanID())
	require.False(t, spans[1].Parent().IsValid(), "it is the root")
	for _, s := range spans {
		require.Equal(t, want.TraceID(), s.SpanContext().TraceID())
	}
	require.Equal(t, want.SpanID(), spans[0].Parent().SpanID())
	require.Equal(t, want.SpanID(), spans[2].Parent().SpanID())
}

// TestAllNodesKeepTheSameTraces, and about the part they were asked to.
func TestAllNodesKeepTheSameTraces(t *testing.T) {
	const blocks = 2000
	one, spans := newTracer(0.25)
	other, _ := newTracer(0.25)
	kept := 0
	for height := uint64(1); height <= blocks; height++ {
		require.Equal(t, one.Kept(height), other.Kept(height))
		if one.Kept(height) {
			kept++
		}
		_, root := one.Make(t.Context(), "make", height)
		require.Equal(t, one.Kept(height), root.Recording())
		root.End()
	}
	require.InDelta(t, blocks/4, kept, blocks/20)
	require.Len(t, spans.Ended(), kept, "what is kept is recorded, and nothing else")
	more, _ := newTracer(0.5)
	for height := uint64(1); height <= blocks; height++ {
		require.True(t, !one.Kept(height) || more.Kept(height), "a higher ratio keeps what a lower one does")
	}
}

// TestThePartIsThatOfOpenTelemetry: other tools that sample by id keep the same.
func TestThePartIsThatOfOpenTelemetry(t *testing.T) {
	for _, ratio := range []float64{-1, 0, 0.001, 0.3, 0.999, 1, 2} {
		ours, theirs := blocktrace.Sampler(ratio), sdktrace.TraceIDRatioBased(ratio)
		for height := range uint64(500) {
			p := sdktrace.SamplingParameters{ParentContext: t.Context(), TraceID: blocktrace.TraceID(genesis, height)}
			require.Equal(t, theirs.ShouldSample(p).Decision, ours.ShouldSample(p).Decision)
		}
	}
}

// TestWorkOfAnotherTraceIsLinked: the block's span stays below its root.
func TestWorkOfAnotherTraceIsLinked(t *testing.T) {
	tracer, spans := newTracer(1)
	ctx, work := tracer.Work(t.Context(), "work", trace.SpanKindClient)
	_, span := tracer.Start(ctx, "block", blocktrace.One(3))
	span.End()
	work.End()
	got := spans.Ended()[0]
	require.Equal(t, tracer.Root(3).SpanID(), got.Parent().SpanID())
	require.Equal(t, work.Context().SpanID(), got.Links()[0].SpanContext.SpanID())
}

// TestABatchWithinABlockHasItsOwnTrace: a block does not own what it set off.
func TestABatchWithinABlockHasItsOwnTrace(t *testing.T) {
	tracer, spans := newTracer(1)
	ctx, first := tracer.Start(t.Context(), "first", blocktrace.One(1))
	_, batch := tracer.Start(ctx, "batch", blocktrace.Range(2, 3))
	batch.End()
	first.End()
	whole := spans.Ended()[0]
	require.Equal(t, "batch", whole.Name())
	require.False(t, whole.Parent().IsValid())
	require.Len(t, whole.Links(), 3, "what set it off, and two blocks")
	for i, height := range []uint64{2, 3} {
		require.Equal(t, tracer.Root(height).TraceID(), spans.Ended()[i+1].SpanContext().TraceID())
	}
}

// TestStepsOfABatchNestInEveryBlock: the copies of a step hang below the copies of
// the batch.
func TestStepsOfABatchNestInEveryBlock(t *testing.T) {
	tracer, spans := newTracer(1)
	ctx, batch := tracer.Start(t.Context(), "batch", blocktrace.Range(1, 2))
	_, step := tracer.Start(ctx, "step", blocktrace.Range(1, 2))
	step.End()
	_, alone := tracer.Start(ctx, "alone", blocktrace.One(2))
	alone.End()
	batch.End()
	in := func(name string, id trace.TraceID) sdktrace.ReadOnlySpan {
		for _, s := range spans.Ended() {
			if s.Name() == name && s.SpanContext().TraceID() == id {
				return s
			}
		}
		t.Fatalf("no %s in %s", name, id)
		return nil
	}
	for _, height := range []uint64{1, 2} {
		id := tracer.Root(height).TraceID()
		require.Equal(t, in("batch", id).SpanContext().SpanID(), in("step", id).Parent().SpanID())
	}
	own := batch.Context().TraceID()
	require.Equal(t, in("batch", own).SpanContext().SpanID(), in("step", own).Parent().SpanID())
	id := tracer.Root(2).TraceID()
	require.Equal(t, in("batch", id).SpanContext().SpanID(), in("alone", id).Parent().SpanID())
	require.Equal(t, batch.Context().SpanID(), in("alone", id).Links()[0].SpanContext.SpanID())
}

// TestOnlyTheNamedHeights of a range get copies.
func TestOnlyTheNamedHeights(t *testing.T) {
	tracer, spans := newTracer(1)
	_, s := tracer.Start(t.Context(), "post", blocktrace.Of{From: 1, To: 90, Only: []uint64{1, 90}, Each: blocktrace.Many})
	s.End()
	require.Len(t, spans.Ended(), 3)
}

func TestFailureShowsInEveryCopy(t *testing.T) {
	tracer, spans := newTracer(1)
	_, s := tracer.Start(t.Context(), "batch", blocktrace.Range(1, 2))
	require.NoError(t, s.Fail(nil))
	require.EqualError(t, s.Fail(errors.New("no")), "no")
	s.End()
	for _, span := range spans.Ended() {
		require.Equal(t, codes.Error, span.Status().Code)
	}
	require.EqualError(t, blocktrace.Span{}.Fail(errors.New("no")), "no")
}

// TestABatchOfUnkeptBlocksIsNotRecorded, and neither is what it leads to.
func TestABatchOfUnkeptBlocksIsNotRecorded(t *testing.T) {
	tracer, spans := newTracer(0)
	ctx, batch := tracer.Start(t.Context(), "batch", blocktrace.Range(1, 100))
	_, step := tracer.Start(ctx, "step", blocktrace.Range(1, 100))
	_, few := tracer.Start(ctx, "few", blocktrace.Range(1, 3))
	_, below := tracer.Step(ctx, "below")
	for _, s := range []blocktrace.Span{batch, step, few, below} {
		require.False(t, s.Recording())
		s.End()
	}
	require.Empty(t, spans.Ended())
}

func TestOffIsNil(t *testing.T) {
	off := blocktrace.New(noop.NewTracerProvider().Tracer(""), genesis, 1)
	require.Nil(t, off)
	require.False(t, off.On())
	require.False(t, off.Root(1).IsValid())
	require.False(t, off.At(t.Context(), 1).IsValid())
	ctx, s := off.Make(t.Context(), "make", 1)
	require.Equal(t, t.Context(), ctx)
	s.End()
}

// followed is what is asked of a tracer for one block on its way through a
// follower at the head, from gossip to final.
func followed(ctx context.Context, t *blocktrace.Tracer, height uint64) {
	for range 2 { // header and data
		heard, gossip := t.Block(ctx, names.SpanGossip, height)
		written, write := t.Block(heard, names.SpanAppend, height)
		_, publish := t.Block(written, names.SpanPublish, height)
		publish.End()
		write.End()
		gossip.End()
	}
	taken, receive := t.Block(ctx, names.SpanReceive, height)
	for _, name := range []string{names.SpanQueue, names.SpanFetch, names.SpanPair, names.SpanVerify, names.SpanExecute, names.SpanCommit} {
		_, s := t.Block(taken, name, height)
		s.End()
	}
	receive.End()
	for _, name := range []string{names.SpanSeen, names.SpanSeen, names.SpanFinal} {
		_, s := t.Block(ctx, name, height)
		s.End()
	}
}

func TestNothingIsAllocatedWithoutARecordingSpan(t *testing.T) {
	out, _ := newTracer(0)
	for name, tracer := range map[string]*blocktrace.Tracer{"off": nil, "sampled out": out} {
		t.Run(name, func(t *testing.T) {
			height := uint64(0)
			require.Zero(t, testing.AllocsPerRun(1000, func() {
				height++
				followed(t.Context(), tracer, height)
				_, s := tracer.Start(t.Context(), "few", blocktrace.Range(height, height+7))
				s.End()
			}))
		})
	}
}

// BenchmarkBlock is all tracing of one block on a follower at the head.
func BenchmarkBlock(b *testing.B) {
	out, _ := newTracer(0)
	kept := blocktrace.New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(drop{}), sdktrace.WithSampler(blocktrace.Sampler(1)),
		sdktrace.WithIDGenerator(blocktrace.IDs{})).Tracer(""), genesis, 1)
	for _, c := range []struct {
		name   string
		tracer *blocktrace.Tracer
	}{{"off", nil}, {"sampled-out", out}, {"recorded", kept}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			ctx, height := b.Context(), uint64(0)
			for b.Loop() {
				height++
				followed(ctx, c.tracer, height)
			}
		})
	}
}

// drop is an exporter that costs nothing.
type drop struct{}

func (drop) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (drop) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (drop) Shutdown(context.Context) error                  { return nil }
func (drop) ForceFlush(context.Context) error                { return nil }
