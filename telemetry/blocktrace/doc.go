// Package blocktrace gives every block of a chain one trace, which is the same on
// every node without a byte on the wire: trace id and root span id are hashes of
// genesis and height (docs/adr/018). The node that makes a block starts the root;
// every other puts its spans below it. Whether a trace is kept follows from its
// id, so all nodes with the same sample ratio keep the same ones.
//
// Work on one block is a span in its trace. Work on several at once is a span in a
// trace of its own, linked to the blocks, with a copy in the trace of each that
// links back. Work on many, far behind the head, is one span and nothing else.
//
// It is a leaf, so that every module may use it. It does not know who exports the
// spans.
package blocktrace
