// Package exchange moves headers and data between peers: a gossip topic, a
// range server and a range sync per kind, in the go-header protocol
// (evolve-wire §5.3-§5.5), so that nodes of both kinds can be peers.
//
// An Exchange fills one store up to the head of the network. Everything is
// checked before it is stored, relayed or followed: size, structure, chain,
// proposer, signature and the link to what is held; data against its header. An
// item is relayed once, in its own form, whether it is new or known. Far heads are
// claims, proven only by the ranges that lead to them. What two peers tell differently under
// one valid signature is reported as a conflict, never dropped in silence.
//
// Run does all the work and is level-triggered: it reads the store, requests
// what is missing, then waits. Peers are asked for their heads when they are new and
// while gossip is silent, at intervals that grow to ten seconds.
// Several requests are in flight, bounded in number and in bytes; answers are
// linked and appended in order, under the same lock as gossip.
//
// It does not execute blocks, does not read DA, and never gossips what it did
// not get as gossip: only Broadcast publishes.
package exchange
