package notifier_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/notifier"
)

// Publishers and readers run freely: whoever waits for tokens alone gets to the
// last event, in order, and what it did not get is counted.
func TestReadersThatWaitForTokensReachTheLastEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := notifier.New()
		publishers := rapid.IntRange(1, 3).Draw(t, "publishers")
		each := uint64(rapid.IntRange(1, 200).Draw(t, "events"))
		var readers, writers sync.WaitGroup
		for range rapid.IntRange(1, 3).Draw(t, "readers") {
			r := reader{
				sub: n.Subscribe(notifier.Buffer(rapid.IntRange(1, 8).Draw(t, "room"))),
				all: rapid.Bool().Draw(t, "reads all"), last: make([]uint64, publishers),
			}
			readers.Go(func() { r.follow(t, each*uint64(publishers)) })
		}
		for p := range publishers {
			writers.Go(func() {
				for h := uint64(1); h <= each; h++ {
					n.Publish(notifier.Event{Type: notifier.EventType(p + 1), Height: h})
				}
			})
		}
		writers.Wait()
		readers.Wait()
	})
}

// reader reads everything or one event per token.
type reader struct {
	sub  *notifier.Subscription
	all  bool
	read uint64
	last []uint64 // height by publisher
}

func (r *reader) follow(t require.TestingT, total uint64) {
	for r.read+r.sub.Dropped() < total {
		<-r.sub.Ready
		for e, ok := r.sub.Next(); ok; e, ok = r.sub.Next() {
			r.read++
			require.Greater(t, e.Height, r.last[e.Type-1])
			r.last[e.Type-1] = e.Height
			if !r.all {
				break
			}
		}
	}
	require.Equal(t, total, r.read+r.sub.Dropped())
	require.Zero(t, r.sub.Queued())
}
