// Package notifier carries hints that something grew: a store was written, a
// block was applied, a height became final. It knows nothing of who listens.
//
// # The contract
//
// An event is a hint, never the data. It says "look again"; what there is to
// see is read from the store, which may by then hold more than the event says.
//
// Publish before or after? The publisher makes its change visible first and
// calls [Notifier.Publish] then. Whoever receives the event therefore finds the
// change, or a later one.
//
// When is it published? When Publish returns, the event lies in the buffer of
// every subscription of its type that had room. Publish never blocks, allocates
// nothing and runs on the publisher's goroutine.
//
// Who pays for back-pressure? The subscriber alone, with events: where a buffer
// is full the event is dropped for that subscription and counted
// ([Subscription.Dropped], [Notifier.Stats]). Publishers and other subscribers
// do not notice.
//
// Why is a drop harmless? It happens only while the buffer holds at least one
// unread event. Reading that one comes after the change whose event was dropped
// became visible, so a reader that looks again after each receive misses
// nothing, not even when the dropped event was the last there ever was.
//
// Which orders hold? The events of one publishing goroutine arrive in the order
// they were published, with gaps where some were dropped. Between goroutines,
// and between subscriptions, there is no order.
//
// When does it begin and end? A subscription sees what is published after
// [Notifier.Subscribe] returned: subscribe first, then look, then wait. After
// [Subscription.Close] returned it receives nothing more, except from a Publish
// that was already running. Its channel falls silent and is never closed, so a
// receiver selects on its context too.
//
// A nil *Notifier is a valid notifier to which nobody listens.
//
// It does not store, replay, conflate or forward events, and it starts no
// goroutine.
package notifier
