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
// When is it published? When Publish returns, every subscription of its type
// has the event, and those that had nothing to read have a token in Ready.
// Publish waits for no reader, allocates nothing and runs on the publisher's
// goroutine. What it costs does not depend on the number of subscriptions that
// have something to read already: events are kept once per set of types, not
// once per subscription (ADR 011).
//
// How is it read? Wait for [Subscription.Ready], then call [Subscription.Next].
// Whether that is done until nothing is left or once per token does not matter:
// the token comes back for as long as there are unread events. A token may be
// left over from events that were read already, so a wake-up is no promise.
//
// Who pays for back-pressure? The subscriber alone, with events: where a buffer
// is full the oldest gives way and is counted as dropped
// ([Subscription.Dropped], [Notifier.Stats]). Publishers and other subscribers
// do not notice.
//
// Why is a drop harmless? It happens only while there are unread events, and
// the newest always stays. Reading that one comes after the change whose event
// was dropped became visible, so a reader that looks again after each receive
// misses nothing.
//
// Which orders hold? The events of one publishing goroutine arrive in the order
// they were published, with gaps where some were dropped. Between goroutines,
// and between subscriptions, there is no order.
//
// When does it begin and end? A subscription sees what is published after
// [Notifier.Subscribe] returned: subscribe first, then look, then wait. After
// [Subscription.Close] returned it receives nothing more. Its channel falls
// silent and is never closed, so a receiver selects on its context too.
//
// A nil *Notifier is a valid notifier to which nobody listens.
//
// It does not replay, conflate or forward events, and it starts no goroutine.
package notifier
