// Package da is the node's side of a data-availability layer: the Client
// interface, a client for the JSON-RPC of a Celestia node, and a local server
// that speaks the same JSON-RPC and keeps its blocks on disk.
//
// What a Client returns was checked as far as bytes allow: namespaces are the
// ones asked for and commitments are computed here. Nothing else is: anyone may
// post into a namespace, so callers authenticate every blob themselves.
//
// Errors are classes to branch on (ErrFuture, ErrBusy, ...) wrapped in what was
// being done; an answer of the endpoint also carries its text as *RPCError.
//
// It does not retry, keep cursors or know what is inside a blob.
package da
