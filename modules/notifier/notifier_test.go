package notifier_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
	"github.com/tandem-node/tandem/testutil"
)

func TestMain(m *testing.M) { testutil.LeaksMain(m) }

func header(height uint64) notifier.Event {
	return notifier.Event{Type: notifier.Header, Source: notifier.P2P, Height: height}
}

func data(height uint64) notifier.Event {
	return notifier.Event{Type: notifier.Data, Source: notifier.Local, Height: height}
}

func TestPublishReachesEverySubscription(t *testing.T) {
	n := notifier.New()
	a, b := n.Subscribe(), n.Subscribe()
	e := header(7)
	e.Hash[0], e.Span.SpanID[0] = 1, 2
	n.Publish(e)
	require.Equal(t, e, notifiertest.Next(t, a))
	require.Equal(t, e, notifiertest.Next(t, b))
	notifiertest.None(t, a)
}

func TestTypesFilter(t *testing.T) {
	n := notifier.New()
	all := n.Subscribe()
	headers := n.Subscribe(notifier.Types(notifier.Header))
	heads := n.Subscribe(notifier.Types(notifier.Applied, notifier.Final))
	for i, typ := range []notifier.EventType{notifier.Header, notifier.Data, notifier.Applied, notifier.Final, 0, 200} {
		n.Publish(notifier.Event{Type: typ, Height: uint64(i)})
	}
	require.Equal(t, 6, all.Queued())
	notifiertest.Expect(t, headers, notifier.Header, 0)
	notifiertest.None(t, headers)
	notifiertest.Expect(t, heads, notifier.Applied, 2)
	notifiertest.Expect(t, heads, notifier.Final, 3)
	notifiertest.None(t, heads)
	require.Equal(t, map[notifier.EventType]uint64{
		0: 2, notifier.Header: 1, notifier.Data: 1, notifier.Applied: 1, notifier.Final: 1,
	}, n.Stats().Published, "types without a name are counted together")
}

func TestBufferSizes(t *testing.T) {
	n := notifier.New()
	subs := []*notifier.Subscription{
		n.Subscribe(), n.Subscribe(notifier.Buffer(3)), n.Subscribe(notifier.Buffer(0)), n.Subscribe(notifier.Buffer(-1)),
	}
	for h := range uint64(200) {
		n.Publish(header(h))
	}
	for i, room := range []int{100, 3, 0, 0} {
		require.Equal(t, room, subs[i].Queued())
		require.Equal(t, room, n.Stats().Subscriptions[i].Capacity)
	}
	require.Equal(t, uintptr(96), unsafe.Sizeof(notifier.Event{}), "documented at Buffer and Event")
}

func TestWithoutBufferThereAreOnlyWakeUps(t *testing.T) {
	n := notifier.New()
	sub := n.Subscribe(notifier.Buffer(0))
	for range 3 { // for ever, although Next is never called
		n.Publish(header(1))
		n.Publish(header(2))
		require.Len(t, sub.Ready, 1)
		<-sub.Ready
	}
	notifiertest.None(t, sub)
	require.Zero(t, sub.Dropped(), "what is not kept is not lost")
}

func TestEveryTokenLeadsToAnEventHoweverTheReaderReads(t *testing.T) {
	n := notifier.New()
	sub := n.Subscribe(notifier.Buffer(4))
	for h := range uint64(4) {
		n.Publish(header(h))
	}
	for h := range uint64(4) { // one event per token
		<-sub.Ready
		notifiertest.Expect(t, sub, notifier.Header, h)
	}
	require.Empty(t, sub.Ready)
	n.Publish(header(4))
	n.Publish(header(5))
	notifiertest.Expect(t, sub, notifier.Header, 4, 5) // all of them
	require.Empty(t, sub.Ready, "nothing is left to wake up for")
}

func TestALargerBufferKeepsWhatIsUnread(t *testing.T) {
	n := notifier.New()
	small := n.Subscribe(notifier.Buffer(3))
	for h := range uint64(6) {
		n.Publish(header(h))
	}
	large := n.Subscribe(notifier.Buffer(9))
	n.Publish(header(6))
	notifiertest.Expect(t, small, notifier.Header, 4, 5, 6)
	notifiertest.Expect(t, large, notifier.Header, 6)
	require.Equal(t, uint64(4), small.Dropped())
}

func TestFullBufferDropsCountsAndLeavesAWakeUp(t *testing.T) {
	n := notifier.New()
	slow := n.Subscribe(notifier.Buffer(2), notifier.Name("slow"))
	quick := n.Subscribe(notifier.Buffer(9), notifier.Name("quick"))
	for h := range uint64(5) {
		n.Publish(header(h))
	}
	require.Equal(t, uint64(3), slow.Dropped())
	require.Zero(t, quick.Dropped())
	require.Len(t, slow.Ready, 1)
	notifiertest.Expect(t, slow, notifier.Header, 3, 4)
	notifiertest.None(t, slow)
	notifiertest.Expect(t, quick, notifier.Header, 0, 1, 2, 3, 4)
	require.Equal(t, notifier.Stats{
		Published: map[notifier.EventType]uint64{notifier.Header: 5},
		Dropped:   3,
		Subscriptions: []notifier.SubscriptionStats{
			{Name: "slow", Capacity: 2, Dropped: 3},
			{Name: "quick", Capacity: 9},
		},
	}, n.Stats())
}

func TestCloseIsSilentIdempotentAndKeepsTheCount(t *testing.T) {
	n := notifier.New()
	a, b := n.Subscribe(notifier.Buffer(1)), n.Subscribe()
	n.Publish(header(1))
	n.Publish(header(2))
	a.Close()
	a.Close()
	n.Publish(header(3))
	notifiertest.None(t, a)
	require.Empty(t, a.Ready)
	require.Equal(t, uint64(1), a.Dropped())
	notifiertest.Expect(t, b, notifier.Header, 1, 2, 3)
	require.Equal(t, uint64(1), n.Stats().Dropped)
	require.Len(t, n.Stats().Subscriptions, 1)
	b.Close()
	require.Empty(t, n.Stats().Subscriptions)
	n.Publish(header(4))
}

func TestNilAndZeroNotifier(t *testing.T) {
	var none *notifier.Notifier
	none.Publish(header(1))
	sub := none.Subscribe()
	none.Publish(header(2))
	notifiertest.None(t, sub)
	sub.Close()
	require.Empty(t, none.Stats().Published)

	var zero notifier.Notifier
	zero.Publish(header(1))
	sub = zero.Subscribe()
	zero.Publish(header(2))
	notifiertest.Expect(t, sub, notifier.Header, 2)
}

func TestOnSlowNamesTheSubscriberAtEachDoubling(t *testing.T) {
	var reports []uint64
	n := notifier.New(notifier.OnSlow(func(name string, dropped uint64) {
		require.Equal(t, "sleepy", name)
		reports = append(reports, dropped)
	}))
	sleepy := n.Subscribe(notifier.Name("sleepy"), notifier.Buffer(4))
	n.Subscribe(notifier.Name("awake"))
	for range 4 {
		n.Publish(header(1))
	}
	for range 20 {
		n.Publish(header(1))
		notifiertest.Next(t, sleepy)
		n.Publish(header(1))
	}
	require.Equal(t, []uint64{1, 2, 4, 8, 16}, reports)
}

func TestOneGoroutinesEventsArriveInOrder(t *testing.T) {
	n := notifier.New()
	sub := n.Subscribe(notifier.Buffer(1000))
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for h := range uint64(250) {
				n.Publish(notifier.Event{Type: notifier.EventType(p + 1), Height: h})
			}
		})
	}
	wg.Wait()
	next := map[notifier.EventType]uint64{}
	for e, ok := sub.Next(); ok; e, ok = sub.Next() {
		require.Equal(t, next[e.Type], e.Height)
		next[e.Type]++
	}
	require.Zero(t, sub.Dropped())
}

// The race detector and goleak are half of this test.
func TestPublishSubscribeAndCloseConcurrently(t *testing.T) {
	n := notifier.New(notifier.OnSlow(func(string, uint64) {}))
	keeper := n.Subscribe(notifier.Buffer(100_000))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for h := range uint64(2000) {
				n.Publish(header(h))
			}
		})
		wg.Go(func() {
			for range 500 {
				sub := n.Subscribe(notifier.Buffer(1), notifier.Types(notifier.Header))
				n.Stats()
				wg.Go(sub.Close)
				sub.Close()
			}
		})
	}
	wg.Wait()
	require.Equal(t, 6000, keeper.Queued())
	require.Len(t, n.Stats().Subscriptions, 1)
}

// A publisher raises a level and then publishes; a reader looks at the level
// after each receive. However small the buffer, the reader ends at the top
// without an event of its own for it.
func TestInvariant3_LevelNotEdge_TheLastEventMayBeDropped(t *testing.T) {
	for buffer := 1; buffer <= 3; buffer++ {
		var dropped uint64
		for range 300 {
			dropped += raiseAndFollow(t, buffer)
		}
		t.Logf("buffer %d: %d events dropped", buffer, dropped)
	}
}

func raiseAndFollow(t *testing.T, buffer int) (dropped uint64) {
	t.Helper()
	const top = 200
	n := notifier.New()
	sub := n.Subscribe(notifier.Buffer(buffer))
	defer sub.Close()
	var level atomic.Uint64
	go func() {
		for h := uint64(1); h <= top; h++ {
			level.Store(h)
			n.Publish(header(h))
		}
	}()
	for seen := uint64(0); seen < top; {
		notifiertest.Next(t, sub)
		seen = level.Load()
	}
	return sub.Dropped()
}

func TestPublishAllocatesNothing(t *testing.T) {
	n := notifier.New(notifier.OnSlow(func(string, uint64) {}))
	room := n.Subscribe(notifier.Buffer(2000))
	waiting := n.Subscribe(notifier.Buffer(0))
	full := n.Subscribe(notifier.Buffer(1))
	n.Subscribe(notifier.Types(notifier.Final))
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Publish(data(1)) }))
	require.NotZero(t, full.Dropped())
	require.Zero(t, room.Dropped())
	require.Len(t, waiting.Ready, 1)
}

func TestNames(t *testing.T) {
	var got []string
	for i := range 7 {
		got = append(got, notifier.EventType(i).String())
	}
	for i := range 4 {
		got = append(got, notifier.Source(i).String())
	}
	require.True(t, slices.Equal(got, []string{
		"unknown", "header", "data", "applied", "final", "conflict", "unknown", "unknown", "p2p", "local", "unknown",
	}), got)
}
