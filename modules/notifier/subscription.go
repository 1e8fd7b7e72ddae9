package notifier

import "sync/atomic"

// DefaultBuffer is how many events a subscription holds unless Buffer says
// otherwise.
const DefaultBuffer = 100

// Subscription is one listener. Close it when done.
type Subscription struct {
	// C delivers the events. It is never closed.
	C <-chan Event

	name    string
	n       *Notifier
	dropped atomic.Uint64
}

// Close ends delivery. It may be called more than once and at any time.
func (s *Subscription) Close() { s.n.unsubscribe(s) }

// Dropped returns how many events found the buffer full.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Name returns what Name set.
func (s *Subscription) Name() string { return s.name }

// SubOption configures a Subscription.
type SubOption func(*subOptions)

type subOptions struct {
	types  typeSet
	buffer int
	name   string
}

// Types limits a subscription to events of the given types.
func Types(types ...EventType) SubOption {
	return func(o *subOptions) {
		for _, t := range types {
			o.types |= setOf(t)
		}
	}
}

// Buffer sets how many unread events a subscription holds, at 96 bytes each. It
// is at least one: the event that is left in a full buffer is the wake-up.
func Buffer(n int) SubOption { return func(o *subOptions) { o.buffer = max(n, 1) } }

// Name names a subscription in statistics and slow-subscriber reports.
func Name(name string) SubOption { return func(o *subOptions) { o.name = name } }
