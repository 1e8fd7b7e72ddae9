package notifier

import "slices"

// stream keeps the newest events of one set of types, once for all subscriptions
// of exactly that set. The notifier's lock guards it.
type stream struct {
	types typeSet
	subs  int
	ring  []Event // by number modulo the length, which is a power of two; empty where nobody keeps events
	mask  uint64  // of the numbers, for that modulo
	next  uint64  // number of the next event; the first is 0
	// idle are the subscriptions with nothing to read: those to wake. All others
	// know already that there is something, so telling them costs nothing.
	idle []*Subscription
}

// at returns the place of an event.
func (s *stream) at(number uint64) *Event { return &s.ring[number&s.mask] }

// sleepers are subscriptions to wake once the lock is free: a reader that is
// awake at once would wait for it, and the publisher for the reader. Those beyond
// its length are woken under the lock.
type sleepers struct {
	subs [16]*Subscription
	n    int
}

func (s *sleepers) add(sub *Subscription) {
	if s.n == len(s.subs) {
		sub.wake()
		return
	}
	s.subs[s.n] = sub
	s.n++
}

func (s *sleepers) wake() {
	for _, sub := range s.subs[:s.n] {
		sub.wake()
	}
}

// push appends an event and collects who waits for it.
func (s *stream) push(e *Event, out *sleepers) {
	if len(s.ring) > 0 {
		*s.at(s.next) = *e
	}
	s.next++
	if len(s.idle) == 0 {
		return
	}
	still := s.idle[:0]
	for _, sub := range s.idle {
		out.add(sub)
		if sub.room == 0 {
			still = append(still, sub)
		}
	}
	clear(s.idle[len(still):])
	s.idle = still
}

// join adds a subscription that sees what comes from now on, and makes place for
// what it may keep. Idle ones always fit: Publish does not allocate.
func (s *stream) join(sub *Subscription) {
	sub.stream, sub.at = s, s.next
	s.subs++
	s.idle = append(slices.Grow(s.idle, s.subs-len(s.idle)), sub)
	if sub.room <= uint64(len(s.ring)) {
		return
	}
	size := uint64(1)
	for size < sub.room {
		size *= 2
	}
	ring := make([]Event, size)
	for i := s.next - min(s.next, uint64(len(s.ring))); i < s.next; i++ {
		ring[i&(size-1)] = *s.at(i)
	}
	s.ring, s.mask = ring, size-1
}

// leave removes a subscription and reports whether it was the last one.
func (s *stream) leave(sub *Subscription) bool {
	s.subs--
	if i := slices.Index(s.idle, sub); i >= 0 {
		s.idle = slices.Delete(s.idle, i, i+1)
	}
	return s.subs == 0
}
