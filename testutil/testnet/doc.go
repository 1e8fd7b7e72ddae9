// Package testnet runs whole nodes, as many as wanted and of any role, in one
// process: the same graph as the binary, over libp2p on an in-memory network and
// against an in-process DA layer, inside a testing/synctest bubble. Time is
// virtual, so that an hour of an idle chain takes a moment, and a wait of one
// second is exactly one second.
//
//	func TestFollowerFollows(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			n := testnet.New(t)
//			seq, full := n.Sequencer(), n.Full()
//			seq.Put("k", "v")
//			full.WaitGet("k", "v", 5*time.Second)
//		})
//	}
//
// Nodes can be stopped, crashed (their files are as they were at that instant)
// and started again; links can be cut, for one node or between two; DA fails by
// the switches of da.Server, for all, or is cut off from one node. At the end of
// every test the invariants of the node are checked: all nodes applied the same
// chain, what is final lies on DA with the same hash, no block was executed twice,
// nothing was signed twice at one height, stops took less than two seconds, and
// no goroutine is left. A log line at WARN or above fails the test unless it was
// allowed.
//
// It does not run the DHT, TCP or the RPC listener: those need real sockets, which
// a bubble cannot wait for. It is used from one goroutine, that of the test.
package testnet
