package notifier

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Notifier hands events to subscriptions. Its zero value is ready to use, and
// all methods may be called concurrently and on nil.
type Notifier struct {
	// list is replaced on every change and never written to, so Publish reads
	// it without a lock.
	list      atomic.Pointer[[]route]
	published [typeCount]atomic.Uint64 // by type; unknown types at 0
	onSlow    func(name string, dropped uint64)

	mu     sync.Mutex // orders changes of list
	closed uint64     // drops of subscriptions that are closed
}

// route is what Publish needs of a subscription, side by side in memory.
type route struct {
	types typeSet
	c     chan Event
	sub   *Subscription
}

// typeSet has one bit per event type.
type typeSet uint64

const allTypes = ^typeSet(0)

func setOf(t EventType) typeSet { return 1 << (t & 63) }

// Option configures a Notifier.
type Option func(*Notifier)

// OnSlow calls f with a subscription's name and drops at its first drop and then
// whenever its drops have doubled, so that a slow one cannot flood a log. f runs
// inside Publish: it must not block.
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

// Publish hands e to every subscription of its type that has room and counts a
// drop for the others. It never blocks and never allocates.
func (n *Notifier) Publish(e Event) {
	if n == nil {
		return
	}
	n.published[index(e.Type)].Add(1)
	// This atomic load also keeps the look at the buffers below from moving
	// ahead of what the caller wrote: a buffer found full is one whose reader
	// has yet to look.
	list := n.list.Load()
	if list == nil {
		return
	}
	bit := setOf(e.Type)
	for _, r := range *list {
		if r.types&bit == 0 {
			continue
		}
		if len(r.c) < cap(r.c) {
			select {
			case r.c <- e:
				continue
			default: // another publisher took the last place
			}
		}
		n.drop(r.sub)
	}
}

func index(t EventType) EventType {
	if t < typeCount {
		return t
	}
	return 0
}

func (n *Notifier) drop(s *Subscription) {
	dropped := s.dropped.Add(1)
	if n.onSlow != nil && dropped&(dropped-1) == 0 {
		n.onSlow(s.name, dropped)
	}
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
	c := make(chan Event, o.buffer)
	s := &Subscription{C: c, name: o.name, n: n}
	if n == nil {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replace(append(slices.Clone(n.routes()), route{types: o.types, c: c, sub: s}))
	return s
}

// unsubscribe removes s and keeps its drops; it does nothing the second time.
func (n *Notifier) unsubscribe(s *Subscription) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.routes(), func(r route) bool { return r.sub == s })
	if i < 0 {
		return
	}
	n.closed += s.dropped.Load()
	n.replace(slices.Delete(slices.Clone(n.routes()), i, i+1))
}

func (n *Notifier) routes() []route {
	if list := n.list.Load(); list != nil {
		return *list
	}
	return nil
}

func (n *Notifier) replace(list []route) { n.list.Store(&list) }
