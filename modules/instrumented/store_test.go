package instrumented_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
	"github.com/tandem-node/tandem/testutil"
)

func TestMain(m *testing.M) {
	// goleveldb's pool drainer lives for half a minute after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// shelf is a synchronous store in memory; see the chain store for a real one.
type shelf struct {
	header.Store[*block.SignedHeader]

	mu     sync.Mutex
	height uint64
	err    error
}

func (s *shelf) Height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.height
}

func (s *shelf) Append(_ context.Context, items ...*block.SignedHeader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, item := range items {
		s.height = max(s.height, item.Height())
	}
	return nil
}

func headers(n int) []*block.SignedHeader {
	return testutil.Headers(testutil.NewChain("instrumented-test").Blocks(n, 0))
}

func wrap(s *shelf) (header.Store[*block.SignedHeader], *notifier.Subscription) {
	n := notifier.New()
	return instrumented.Wrap[*block.SignedHeader](s, n, notifier.Header), n.Subscribe()
}

func TestOneAppendIsOneEventOfTheHighestItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sub := wrap(&shelf{})
		items := headers(3)
		require.NoError(t, store.Append(t.Context(), items[0], items[2], items[1]))
		require.Equal(t, notifier.Event{
			Type: notifier.Header, Source: notifier.P2P, Height: 3, Hash: items[2].Digest(), Timestamp: time.Now(),
		}, notifiertest.Next(t, sub))
		notifiertest.None(t, sub)
	})
}

func TestFailedAndEmptyAppendsAreNoEvents(t *testing.T) {
	full := errors.New("disk full")
	delegate := &shelf{}
	store, sub := wrap(delegate)
	require.NoError(t, store.Append(t.Context()))
	notifiertest.None(t, sub)
	delegate.err = full
	require.Equal(t, full, store.Append(t.Context(), headers(1)...), "the delegate's error, untouched")
	notifiertest.None(t, sub)
}

func TestWithoutNotifierWrapIsTheStoreItself(t *testing.T) {
	var s header.Store[*block.SignedHeader] = &shelf{}
	require.Same(t, s, instrumented.Wrap(s, nil, notifier.Header))
}

func TestEverythingElseIsTheDelegates(t *testing.T) {
	delegate := &shelf{height: 42}
	store, sub := wrap(delegate)
	require.Equal(t, uint64(42), store.Height())
	notifiertest.None(t, sub)
}

func TestSourceTravelsInTheContext(t *testing.T) {
	store, sub := wrap(&shelf{})
	item := headers(1)
	local := instrumented.WithSource(t.Context(), notifier.Local)
	for _, tc := range []struct {
		ctx  context.Context
		want notifier.Source
	}{
		{t.Context(), notifier.P2P},
		{local, notifier.Local},
		{context.WithoutCancel(local), notifier.Local},
		{instrumented.WithSource(local, notifier.P2P), notifier.P2P},
	} {
		require.NoError(t, store.Append(tc.ctx, item...))
		require.Equal(t, tc.want, notifiertest.Next(t, sub).Source)
		require.Equal(t, tc.want, instrumented.SourceOf(tc.ctx))
	}
}

func TestEventCarriesTheSpanOfTheAppend(t *testing.T) {
	store, sub := wrap(&shelf{})
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	})
	require.NoError(t, store.Append(trace.ContextWithSpanContext(t.Context(), span), headers(1)...))
	require.Equal(t, notifier.SpanContext{TraceID: [16]byte{1}, SpanID: [8]byte{2}, Flags: 1}, notifiertest.Next(t, sub).Span)
}

// Several writers append in real time; whoever receives an event finds a store
// at least as high as the event says.
func TestInvariant4_AppendMeansVisible_BeforeItsEvent(t *testing.T) {
	const writers, each = 4, 250
	items := headers(writers * each)
	store, sub := wrap(&shelf{})
	defer sub.Close()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := store.Append(t.Context(), items[i*writers+w]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	received := 0
	for top := uint64(0); top < writers*each; received++ {
		e := notifiertest.Next(t, sub)
		at := store.Height()
		require.GreaterOrEqual(t, at, e.Height)
		top = max(top, at)
	}
	wg.Wait()
	t.Logf("%d events received, %d dropped", received, sub.Dropped())
}

// For any sequence of calls: as many events as successful calls with items, each
// naming the highest item of its call and the source of its context.
func TestEventsMatchTheCalls(t *testing.T) {
	items := headers(20)
	rapid.Check(t, func(t *rapid.T) {
		delegate := &shelf{}
		store, sub := wrap(delegate)
		for range rapid.IntRange(1, 20).Draw(t, "calls") {
			batch := rapid.SliceOfN(rapid.SampledFrom(items), 0, 4).Draw(t, "batch")
			src := rapid.SampledFrom([]notifier.Source{notifier.P2P, notifier.Local}).Draw(t, "source")
			delegate.err = rapid.SampledFrom([]error{nil, nil, errors.New("no")}).Draw(t, "error")
			err := store.Append(instrumented.WithSource(t.Context(), src), batch...)
			if err != nil || len(batch) == 0 {
				notifiertest.None(t, sub)
				continue
			}
			var top uint64
			for _, item := range batch {
				top = max(top, item.Height())
			}
			require.Equal(t, src, notifiertest.Expect(t, sub, notifier.Header, top).Source)
			notifiertest.None(t, sub)
		}
	})
}

func TestAppendCostsNoAllocation(t *testing.T) {
	item := headers(1)
	bare := header.Store[*block.SignedHeader](&shelf{})
	store, _ := wrap(&shelf{})
	ctx := instrumented.WithSource(t.Context(), notifier.Local)
	before := testing.AllocsPerRun(200, func() { _ = bare.Append(ctx, item...) })
	after := testing.AllocsPerRun(200, func() { _ = store.Append(ctx, item...) })
	require.InDelta(t, before, after, 0)
}

func BenchmarkAppend(b *testing.B) {
	item := headers(1)
	for name, n := range map[string]*notifier.Notifier{"bare": nil, "instrumented": notifier.New()} {
		b.Run(name, func(b *testing.B) {
			store := instrumented.Wrap[*block.SignedHeader](&shelf{}, n, notifier.Header)
			n.Subscribe(notifier.Types(notifier.Header))
			b.ReportAllocs()
			for b.Loop() {
				_ = store.Append(b.Context(), item...)
			}
		})
	}
}
