// Package instrumented makes a store announce what is written to it: a
// decorator that publishes one event per successful Append.
//
// The event follows the write: whoever receives it finds the items in the
// store. That holds for delegates whose Append makes items visible before it
// returns, as the node's own chain store does; one that only queues them breaks
// the promise.
//
// It does not look into the items, hold anything back, or change what any other
// method of the store does.
package instrumented
