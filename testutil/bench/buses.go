package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/tandem-node/tandem/modules/notifier"
)

// room is how many events fit before the buffers are emptied, off the clock.
const room = 100

// bus is one way to tell many.
type bus struct {
	name    string
	batch   int // how many are published before empty is called
	publish func()
	empty   func()
	close   func() error
}

func aHeaderEvent() notifier.Event {
	return notifier.Event{Type: notifier.Header, Height: 1, Timestamp: time.Unix(1, 0)}
}

func notifierBus(subscribers int) (bus, error) {
	n := notifier.New()
	subs := make([]*notifier.Subscription, subscribers)
	for i := range subs {
		subs[i] = n.Subscribe(notifier.Buffer(room))
	}
	return bus{
		name: "notifier", batch: room, publish: func() { n.Publish(aHeaderEvent()) },
		empty: func() {
			for _, s := range subs {
				for ok := true; ok; _, ok = s.Next() {
				}
			}
		},
	}, nil
}

// fullBus is the notifier when every subscription has an event to look at: one
// more says nothing new to them.
func fullBus(subscribers int) (bus, error) {
	n := notifier.New()
	for range subscribers {
		n.Subscribe(notifier.Buffer(1))
	}
	n.Publish(aHeaderEvent())
	return bus{name: "notifier, buffers full", batch: room, publish: func() { n.Publish(aHeaderEvent()) }, empty: func() {}}, nil
}

// waitingBus is the notifier when every reader sleeps and has to be woken.
func waitingBus(subscribers int) (bus, error) {
	n := notifier.New()
	w := newWaiters()
	for range subscribers {
		s := n.Subscribe(notifier.Buffer(room))
		w.run(s.Ready, func() (read int) {
			for _, ok := s.Next(); ok; _, ok = s.Next() {
				read++
			}
			return read
		})
	}
	return w.bus("notifier, all waiting", subscribers, func() { n.Publish(aHeaderEvent()) }), nil
}

// waitingChannelBus is channelBus when every reader sleeps.
func waitingChannelBus(subscribers int) (bus, error) {
	w := newWaiters()
	list := make([]chan struct{}, subscribers)
	for i := range list {
		list[i] = make(chan struct{}, room)
		w.run(list[i], func() int { return 1 })
	}
	return w.bus("channel per subscriber, all waiting", subscribers, func() {
		for _, c := range list {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}), nil
}

// waiters are goroutines that wait for a signal each.
type waiters struct {
	stop    chan struct{}
	readers sync.WaitGroup
	unread  sync.WaitGroup
}

func newWaiters() *waiters { return &waiters{stop: make(chan struct{})} }

// run starts one. read takes what is there and returns how much that was.
func (w *waiters) run(signal <-chan struct{}, read func() int) {
	w.readers.Go(func() {
		for {
			select {
			case <-signal:
				w.unread.Add(-read())
			case <-w.stop:
				return
			}
		}
	})
}

// bus publishes to all of them once they have read what was before.
func (w *waiters) bus(name string, subscribers int, publish func()) bus {
	w.unread.Add(subscribers)
	return bus{
		name: name, batch: 1, publish: publish,
		empty: func() {
			w.unread.Wait()
			w.unread.Add(subscribers)
		},
		close: func() error {
			close(w.stop)
			w.readers.Wait()
			return nil
		},
	}
}

// signalBus is the least that can wake others: an empty token each.
func signalBus(subscribers int) (bus, error) {
	list := make([]chan struct{}, subscribers)
	for i := range list {
		list[i] = make(chan struct{}, 1)
	}
	return bus{
		name: "conflating signal", batch: room, empty: func() {},
		publish: func() {
			for _, c := range list {
				select {
				case c <- struct{}{}:
				default:
				}
			}
		},
	}, nil
}

func channelBus(subscribers int) (bus, error) {
	list := make([]chan notifier.Event, subscribers)
	for i := range list {
		list[i] = make(chan notifier.Event, room)
	}
	return bus{
		name: "channel per subscriber", batch: room,
		publish: func() {
			for _, c := range list {
				select {
				case c <- aHeaderEvent():
				default:
				}
			}
		},
		empty: func() {
			for _, c := range list {
				for range len(c) {
					<-c
				}
			}
		},
	}, nil
}

func libp2pBus(subscribers int) (bus, error) {
	b := eventbus.NewBus()
	subs := make([]event.Subscription, subscribers)
	closing := func() (err error) {
		for _, s := range subs {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
		return err
	}
	for i := range subs {
		var err error
		if subs[i], err = b.Subscribe(new(notifier.Event), eventbus.BufSize(room)); err != nil {
			return bus{}, errors.Join(fmt.Errorf("eventbus: %w", err), closing())
		}
	}
	emitter, err := b.Emitter(new(notifier.Event))
	if err != nil {
		return bus{}, errors.Join(fmt.Errorf("eventbus: %w", err), closing())
	}
	return bus{
		name: "libp2p eventbus", batch: room, publish: func() { _ = emitter.Emit(aHeaderEvent()) },
		empty: func() {
			for _, s := range subs {
				for range len(s.Out()) {
					<-s.Out()
				}
			}
		},
		close: func() error { return errors.Join(closing(), emitter.Close()) },
	}, nil
}
