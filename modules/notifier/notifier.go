package notifier

import (
	"slices"
	"sync"
)

// Notifier hands events to subscriptions. Its zero value is ready to use, and
// all methods may be called concurrently and on nil.
type Notifier struct {
	onSlow func(name string, dropped uint64)

	mu        sync.Mutex        // held for a few copies at most
	published [typeCount]uint64 // by type; unknown types at 0
	streams   []*stream
	subs      []*Subscription // the open ones, oldest first
	closed    uint64          // drops of subscriptions that are closed
}

// typeSet has one bit per event type.
type typeSet uint64

const allTypes = ^typeSet(0)

func setOf(t EventType) typeSet { return 1 << (t & 63) }

// Option configures a Notifier.
type Option func(*Notifier)

// OnSlow calls f with a subscription's name and drops at its first drop and then
// whenever its drops have doubled, so that a slow one cannot flood a log. f runs
// inside Next, on the slow reader's goroutine.
func OnSlow(f func(name string, dropped uint64)) Option {
	return func(n *Notifier) { n.onSlow = f }
}

// New returns a notifier without subscribers.
func New(opts ...Option) *Notifier {
	n := &Notifier{}
	for _, o := range opts {
		o(n)
	}
	return n
}

// Publish shows e to every subscription of its type and wakes the readers that
// had nothing to read. It never waits for a reader and never allocates.
func (n *Notifier) Publish(e Event) {
	if n == nil {
		return
	}
	var sleepers sleepers
	n.push(&e, &sleepers)
	sleepers.wake()
}

func (n *Notifier) push(e *Event, out *sleepers) {
	bit := setOf(e.Type)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.published[index(e.Type)]++
	for _, s := range n.streams {
		if s.types&bit != 0 {
			s.push(e, out)
		}
	}
}

func index(t EventType) EventType {
	if t < typeCount {
		return t
	}
	return 0
}

// Subscribe returns a new subscription. Without options it receives all types
// through a buffer of DefaultBuffer events.
func (n *Notifier) Subscribe(opts ...SubOption) *Subscription {
	o := subOptions{buffer: DefaultBuffer}
	for _, opt := range opts {
		opt(&o)
	}
	if o.types == 0 {
		o.types = allTypes
	}
	ready := make(chan struct{}, 1)
	s := &Subscription{Ready: ready, ready: ready, name: o.name, room: uint64(o.buffer), n: n} //nolint:gosec // not negative, see Buffer
	if n == nil {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subs = append(n.subs, s)
	n.streamOf(o.types).join(s)
	return s
}

// streamOf returns the stream of a set of types. The caller holds mu.
func (n *Notifier) streamOf(types typeSet) *stream {
	for _, s := range n.streams {
		if s.types == types {
			return s
		}
	}
	s := &stream{types: types}
	n.streams = append(n.streams, s)
	return s
}

// unsubscribe removes s and keeps its drops; it does nothing the second time.
func (n *Notifier) unsubscribe(s *Subscription) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.subs, s)
	if i < 0 {
		return
	}
	n.subs = slices.Delete(n.subs, i, i+1)
	s.skip()
	n.closed += s.dropped
	if s.stream.leave(s) {
		n.streams = slices.DeleteFunc(n.streams, func(have *stream) bool { return have == s.stream })
	}
	s.stream = nil
	s.calm()
}
