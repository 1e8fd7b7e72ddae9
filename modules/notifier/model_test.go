package notifier_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/notifier"
)

// listener is a subscription as the contract describes it: a bounded queue of a
// set of types, whose oldest gives way.
type listener struct {
	sub     *notifier.Subscription
	types   []notifier.EventType
	room    int
	queue   []uint64
	dropped uint64
}

func (l *listener) hear(e notifier.Event) {
	for _, t := range l.types {
		if t != e.Type {
			continue
		}
		if l.queue = append(l.queue, e.Height); len(l.queue) > l.room {
			l.queue, l.dropped = l.queue[1:], l.dropped+1
		}
		return
	}
}

func TestNotifierMatchesItsModel(t *testing.T) {
	kinds := []notifier.EventType{notifier.Header, notifier.Data, notifier.Applied, notifier.Final}
	rapid.Check(t, func(t *rapid.T) {
		n := notifier.New()
		var (
			open, closed []*listener
			height       uint64
		)
		pick := func(t *rapid.T) int {
			if len(open) == 0 {
				t.Skip("nobody listens")
			}
			return rapid.IntRange(0, len(open)-1).Draw(t, "listener")
		}
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				l := &listener{
					types: rapid.SliceOfNDistinct(rapid.SampledFrom(kinds), 1, 4, rapid.ID).Draw(t, "types"),
					room:  rapid.IntRange(1, 4).Draw(t, "room"),
				}
				l.sub = n.Subscribe(notifier.Types(l.types...), notifier.Buffer(l.room))
				open = append(open, l)
			},
			"publish": func(t *rapid.T) {
				height++
				e := notifier.Event{Type: rapid.SampledFrom(kinds).Draw(t, "type"), Height: height}
				n.Publish(e)
				for _, l := range open {
					l.hear(e)
				}
			},
			"receive": func(t *rapid.T) {
				l := open[pick(t)]
				e, ok := l.sub.Next()
				require.Equal(t, len(l.queue) > 0, ok)
				if ok {
					require.Equal(t, l.queue[0], e.Height)
					l.queue = l.queue[1:]
				}
			},
			// A reader that waits is woken exactly when there is something.
			"take the token": func(t *rapid.T) {
				l := open[pick(t)]
				select {
				case <-l.sub.Ready:
					require.NotEmpty(t, l.queue)
					e, ok := l.sub.Next()
					require.True(t, ok)
					require.Equal(t, l.queue[0], e.Height)
					l.queue = l.queue[1:]
				default:
					require.Empty(t, l.queue)
				}
			},
			"close": func(t *rapid.T) {
				i := pick(t)
				open[i].sub.Close()
				open[i].queue = nil
				closed = append(closed, open[i])
				open = append(open[:i:i], open[i+1:]...)
			},
			"": func(t *rapid.T) {
				var total uint64
				for _, l := range slices.Concat(closed, open) {
					require.Equal(t, len(l.queue), l.sub.Queued())
					require.Equal(t, l.dropped, l.sub.Dropped())
					total += l.dropped
				}
				require.Equal(t, total, n.Stats().Dropped)
				require.Len(t, n.Stats().Subscriptions, len(open))
			},
		})
	})
}
