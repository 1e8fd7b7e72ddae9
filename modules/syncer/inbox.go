package syncer

import (
	"context"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/notifier"
)

// inbox is the syncer's ear: one subscription per store, so that neither can
// fill the other's buffer.
type inbox struct {
	headers, data *notifier.Subscription
	// dataReady is nil where there is no subscription: select passes over it.
	dataReady <-chan struct{}

	origins origins
	causes  causes
	// heard is when the oldest events since the last fetch were published, of
	// headers and of data.
	heard [2]time.Time
}

// openInbox subscribes. From here on no write to the stores goes unnoticed.
func (s *Syncer) openInbox() inbox {
	subscribe := func(t notifier.EventType) *notifier.Subscription {
		return s.events.Subscribe(notifier.Types(t), notifier.Name("syncer/"+t.String()), notifier.Buffer(s.cfg.EventBuffer))
	}
	in := inbox{headers: subscribe(notifier.Header)}
	if s.data != nil {
		in.data = subscribe(notifier.Data)
		in.dataReady = in.data.Ready
	}
	return in
}

func (in *inbox) close() {
	in.headers.Close()
	if in.data != nil {
		in.data.Close()
	}
}

// wait returns true when there may be an event or when the timer fires, and false
// when ctx ends.
func (in *inbox) wait(ctx context.Context, timer <-chan time.Time) bool {
	select {
	case <-in.headers.Ready:
	case <-in.dataReady:
	case <-timer:
	case <-ctx.Done():
		return false
	}
	return true
}

// drain takes the events that are there now and returns how many.
func (in *inbox) drain() uint64 {
	n := in.take(in.headers)
	if in.data != nil {
		n += in.take(in.data)
	}
	return n
}

// take stops at what was there when it began: writers must not keep it busy.
func (in *inbox) take(sub *notifier.Subscription) (n uint64) {
	for range sub.Queued() {
		e, ok := sub.Next()
		if !ok {
			break
		}
		in.hear(e)
		n++
	}
	return n
}

func (in *inbox) hear(e notifier.Event) {
	half := &in.heard[0]
	if e.Type == notifier.Data {
		half = &in.heard[1]
	}
	if half.IsZero() {
		*half = e.Timestamp
	}
	if e.Type == notifier.Header {
		in.origins.note(e.Height, sourceOf(e.Source))
	}
	in.causes.hear(e)
}

// complete returns when the event was published that completed a block, and
// forgets it. It is zero when none was heard since the last fetch.
func (in *inbox) complete() time.Time {
	at := in.heard[0]
	if in.heard[1].After(at) {
		at = in.heard[1]
	}
	in.heard = [2]time.Time{}
	return at
}

// sourceOf translates: what this node wrote to the stores it read from DA,
// because blocks it makes itself are applied before they are announced.
func sourceOf(s notifier.Source) block.Source {
	if s == notifier.Local {
		return block.SourceDA
	}
	return block.SourceP2P
}
