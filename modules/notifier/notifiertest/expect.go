// Package notifiertest helps tests to say which events they expect.
//
// It does not import testing: any value with Helper and Fatalf will do.
package notifiertest

import (
	"time"

	"github.com/tandem-node/tandem/modules/notifier"
)

// patience is how long Next waits. Inside a synctest bubble it costs nothing.
const patience = 10 * time.Second

// TB is what the helpers need of a *testing.T.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Next returns the next event of the subscription, waiting for it if need be.
func Next(tb TB, sub *notifier.Subscription) notifier.Event {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		if e, ok := sub.Next(); ok {
			return e
		}
		select {
		case <-sub.Ready:
		case <-timer.C:
			tb.Fatalf("no event on subscription %q after %s", sub.Name(), patience)
			return notifier.Event{}
		}
	}
}

// Expect receives one event per height and fails where the type or a height is
// another one. It returns the last event.
func Expect(tb TB, sub *notifier.Subscription, t notifier.EventType, heights ...uint64) notifier.Event {
	tb.Helper()
	var last notifier.Event
	for _, height := range heights {
		last = Next(tb, sub)
		if last.Type != t || last.Height != height {
			tb.Fatalf("got event %s %d, want %s %d", last.Type, last.Height, t, height)
		}
	}
	return last
}

// None fails when there is an unread event.
func None(tb TB, sub *notifier.Subscription) {
	tb.Helper()
	if e, ok := sub.Next(); ok {
		tb.Fatalf("unexpected event %s %d", e.Type, e.Height)
	}
}
