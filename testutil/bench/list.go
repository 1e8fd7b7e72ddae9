package main

// measurements are all there is, in the order of the table.
func measurements() []measurement {
	return []measurement{
		{name: "p2p", about: "catch-up over P2P from one peer", run: measureP2P},
		{name: "silent", about: "catch-up beside silent streams", run: measureSilent},
		{name: "da", about: "catch-up from DA alone", run: measureDA},
		{name: "restart", about: "apply what is stored", run: measureRestart},
		{name: "dead-peer", about: "first block with a dead peer", run: measureDeadPeer},
		{name: "tip", about: "from commit to commit", run: measureTip},
		{name: "events", about: "event-driven against polling", run: measureEvents},
		{name: "publish", about: "one tells many", run: measurePublish},
		{name: "idle", about: "nothing arrives", run: measureIdle},
		{name: "sequencer", about: "blocks as fast as they can be made", run: measureSequencer},
		{name: "stores", about: "the store against others", run: measureStores},
		{name: "signatures", about: "checks one by one and in batches", run: measureSignatures},
		{name: "limit", about: "the parts of a catch-up without the whole", run: measureLimit},
		{name: "gossip", about: "spread to 10, 50, 100 nodes in memory", run: measureGossip},
		{name: "memory", about: "1,000,000 blocks: memory, opening", run: measureMemory},
	}
}
