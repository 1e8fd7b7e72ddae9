// Package evnode holds nobody's code but tests: nodes shaped like those of
// ev-node v1.2.3, put together from the libraries it is made of (go-header's
// store, Syncer, Exchange and Subscriber, FloodSub, go-jsonrpc, Google's
// protobuf), and DA endpoints that answer as its local-da and as a
// celestia-node do. Whole Tandem nodes run against them over loopback.
//
// Nothing here uses modules/block to encode, hash, sign, verify or execute, so
// that both sides would have to make the same mistake. What the wire looks like
// is in the protobuf definitions below proto/; the rules are written down a
// second time in the test files.
package evnode
