// Package p2p gives the node its place among peers: a libp2p host (TCP and
// QUIC), a pubsub that also speaks FloodSub, a DHT that finds peers of the same
// chain, static peers that are dialled again for as long as the node runs, and
// a gater that says who may connect.
//
// It does not know blocks: topics and protocols belong to modules/exchange.
package p2p
