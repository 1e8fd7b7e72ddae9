package notifier

// DefaultBuffer is how many events a subscription holds unless Buffer says
// otherwise.
const DefaultBuffer = 100

// Subscription is one listener, for one reader. Close it when done.
type Subscription struct {
	// Ready holds a token while there are unread events, and may hold one that
	// outlived them. It is never closed.
	Ready <-chan struct{}

	ready chan struct{} // the same
	name  string
	room  uint64 // unread events it may hold
	n     *Notifier

	// Guarded by the notifier's lock.
	stream  *stream // nil when closed
	at      uint64  // number of the next event to read
	dropped uint64  // counted so far, see skip
	told    uint64  // the drops that were reported last
}

// Next takes the oldest unread event; ok is false when there is none. It does
// not wait: Ready does.
func (s *Subscription) Next() (e Event, ok bool) {
	if s.n == nil {
		return Event{}, false
	}
	e, ok, slow := s.take()
	if slow > 0 && s.n.onSlow != nil {
		s.n.onSlow(s.name, slow)
	}
	return e, ok
}

// take is Next under the lock. slow is the number of drops when it is time to
// report them, else 0.
func (s *Subscription) take() (e Event, ok bool, slow uint64) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	st := s.stream
	if st == nil || s.room == 0 || s.at == st.next {
		return Event{}, false, 0
	}
	s.skip()
	if s.dropped > s.told && s.dropped >= 2*s.told {
		s.told, slow = s.dropped, s.dropped
	}
	e = *st.at(s.at)
	s.at++
	if s.at == st.next {
		s.calm()
		st.idle = append(st.idle, s)
	} else {
		s.wake() // a reader that takes one event per token is woken for each
	}
	return e, true, slow
}

// skip passes over events that no longer fit the buffer and counts them.
func (s *Subscription) skip() {
	lost := s.lost()
	s.at += lost
	s.dropped += lost
}

// lost returns how many events were dropped and not counted yet.
func (s *Subscription) lost() uint64 {
	if s.stream == nil || s.room == 0 {
		return 0
	}
	unread := s.stream.next - s.at
	return unread - min(unread, s.room)
}

func (s *Subscription) queued() uint64 {
	if s.stream == nil || s.room == 0 {
		return 0
	}
	return min(s.stream.next-s.at, s.room)
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *Subscription) calm() {
	select {
	case <-s.ready:
	default:
	}
}

// Close ends delivery: unread events are gone. It may be called more than once
// and at any time.
func (s *Subscription) Close() { s.n.unsubscribe(s) }

// Dropped returns how many events gave way to newer ones before they were read.
func (s *Subscription) Dropped() uint64 {
	if s.n == nil {
		return 0
	}
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	return s.dropped + s.lost()
}

// Queued returns how many events are unread.
func (s *Subscription) Queued() int {
	if s.n == nil {
		return 0
	}
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	return int(s.queued()) //nolint:gosec // not more than Buffer
}

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

// Buffer sets how many unread events a subscription holds. Subscriptions of the
// same types share the memory of the largest, 96 bytes per event. With 0 there
// are no events at all: Ready is a bare wake-up, and Next need not be called.
func Buffer(n int) SubOption { return func(o *subOptions) { o.buffer = max(n, 0) } }

// Name names a subscription in statistics and slow-subscriber reports.
func Name(name string) SubOption { return func(o *subOptions) { o.name = name } }
