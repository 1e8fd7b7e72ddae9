package notifier_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/tandem-node/tandem/modules/notifier"
)

// room is how many events fit before the benchmarks empty the buffers, off the
// clock.
const room = 100

// BenchmarkPublish measures one publish by number of subscriptions. In "room"
// every subscription takes the event, in "full" none can, in "filtered" none
// wants it.
func BenchmarkPublish(b *testing.B) {
	for _, subs := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("room/subs=%d", subs), func(b *testing.B) {
			n, open := listening(subs)
			measure(b, func() { n.Publish(header(1)) }, func() {
				for _, s := range open {
					for ok := true; ok; _, ok = s.Next() {
					}
				}
			})
		})
		b.Run(fmt.Sprintf("full/subs=%d", subs), func(b *testing.B) {
			n, _ := listening(subs, notifier.Buffer(1))
			n.Publish(header(1))
			measure(b, func() { n.Publish(header(1)) }, func() {})
		})
		b.Run(fmt.Sprintf("filtered/subs=%d", subs), func(b *testing.B) {
			n, _ := listening(subs, notifier.Types(notifier.Final))
			measure(b, func() { n.Publish(header(1)) }, func() {})
		})
	}
}

func listening(subs int, opts ...notifier.SubOption) (*notifier.Notifier, []*notifier.Subscription) {
	n := notifier.New()
	open := make([]*notifier.Subscription, subs)
	for i := range open {
		open[i] = n.Subscribe(opts...)
	}
	return n, open
}

// BenchmarkSeedNotifier is the seed's notifier: a lock around a list of
// channels.
func BenchmarkSeedNotifier(b *testing.B) {
	for _, subs := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("room/subs=%d", subs), func(b *testing.B) {
			var mu sync.RWMutex
			list := make([]chan notifier.Event, subs)
			for i := range list {
				list[i] = make(chan notifier.Event, room)
			}
			publish := func() {
				mu.RLock()
				defer mu.RUnlock()
				for _, c := range list {
					select {
					case c <- header(1):
					default:
					}
				}
			}
			measure(b, publish, func() {
				for _, c := range list {
					for range len(c) {
						<-c
					}
				}
			})
		})
	}
}

// BenchmarkConflatingSignal is the least that can wake subs goroutines: one
// empty token each, no event at all.
func BenchmarkConflatingSignal(b *testing.B) {
	for _, subs := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("full/subs=%d", subs), func(b *testing.B) {
			list := make([]chan struct{}, subs)
			for i := range list {
				list[i] = make(chan struct{}, 1)
			}
			measure(b, func() {
				for _, c := range list {
					select {
					case c <- struct{}{}:
					default:
					}
				}
			}, func() {})
		})
	}
}

// BenchmarkLibp2pEventbus blocks where a buffer is full, so it is only measured
// with room.
func BenchmarkLibp2pEventbus(b *testing.B) {
	for _, subs := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("room/subs=%d", subs), func(b *testing.B) {
			bus := eventbus.NewBus()
			open := make([]event.Subscription, subs)
			for i := range open {
				sub, err := bus.Subscribe(new(notifier.Event), eventbus.BufSize(room))
				if err != nil {
					b.Fatal(err)
				}
				defer sub.Close()
				open[i] = sub
			}
			emitter, err := bus.Emitter(new(notifier.Event))
			if err != nil {
				b.Fatal(err)
			}
			defer emitter.Close()
			measure(b, func() { _ = emitter.Emit(header(1)) }, func() {
				for _, s := range open {
					for range len(s.Out()) {
						<-s.Out()
					}
				}
			})
		})
	}
}

// measure times batches of publish and calls empty between them off the clock,
// which is cheaper and truer than stopping the benchmark's timer each time.
func measure(b *testing.B, publish, empty func()) {
	b.Helper()
	b.ReportAllocs()
	var spent time.Duration
	for done := 0; done < b.N; {
		batch := min(room, b.N-done)
		start := time.Now()
		for range batch {
			publish()
		}
		spent += time.Since(start)
		done += batch
		empty()
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
}
