package names

// Types of metrics.
const (
	Gauge     = "gauge"     // a figure of now
	Counter   = "counter"   // a sum since the process started
	Histogram = "histogram" // how often which values occurred
)

// Units of metrics.
const (
	unitBlocks  = "blocks"
	unitBytes   = "bytes"
	unitHeight  = "height"
	unitSeconds = "seconds"
	unitTxs     = "transactions"
	unitNone    = "1" // a count, or a yes (1) and no (0)
)

// Metric is one row of the table of metrics, which /metrics, docs/metrics.md,
// dashboards and alerts are held against.
type Metric struct {
	Name, Type, Unit string
	Labels           []string
	Meaning          string
}

// Metrics returns the table, in the order in which a reader wants it.
func Metrics() []Metric {
	var all []Metric
	for _, part := range [][]Metric{nodeMetrics(), flowMetrics(), daMetrics(), peerMetrics(), productionMetrics()} {
		all = append(all, part...)
	}
	return all
}

func by(labels ...string) []string { return labels }

func nodeMetrics() []Metric {
	return []Metric{
		{MetricHead, Gauge, unitHeight, by(LabelHead), "Block heights: in the stores (header, data), applied, final, and known from each source (p2p, da)."},
		{MetricLag, Gauge, unitBlocks, nil, "Blocks from the applied to the best known one."},
		{MetricReplay, Gauge, unitBlocks, nil, "Blocks the executor lacked at the start and is still to be given again."},
		{MetricFinalLag, Gauge, unitBlocks, nil, "Blocks from the final to the applied one."},
		{MetricSourceLag, Gauge, unitNone, by(LabelSource), "What a source has and the node has not read of it: blocks of p2p, DA heights of da."},
		{MetricReady, Gauge, unitNone, nil, "1 when /health/ready says so."},
		{MetricLive, Gauge, unitNone, nil, "1 when /health/live says so."},
		{MetricProblem, Gauge, unitNone, by(LabelKind), "1 while a condition of this kind lasts; /status gives the reason."},
		{MetricConnections, Gauge, unitNone, nil, "Open connections of clients of the API."},
		{MetricLoopBusy, Gauge, unitSeconds, by(LabelLoop), "For how long a loop has been at one piece of work; 0 when it waits."},
		{MetricHeld, Gauge, unitBytes, by(LabelPart), "What the bounded queues and caches hold."},
		{MetricHeldLimit, Gauge, unitBytes, by(LabelPart), "Their bounds."},
		{MetricGaveWay, Counter, unitNone, by(LabelPart), "What gave way to keep a bound."},
		{MetricDisk, Gauge, unitBytes, by(LabelPart), "Size of the databases on disk: chain, execution."},
	}
}

func flowMetrics() []Metric {
	return []Metric{
		{MetricBlocks, Counter, unitBlocks, by(LabelSource), "Blocks applied."},
		{MetricBytes, Counter, unitBytes, by(LabelSource), "Bytes of headers and data of applied blocks."},
		{MetricTxs, Counter, unitTxs, nil, "Transactions in applied blocks."},
		{MetricExecutor, Counter, unitSeconds, nil, "Time spent in the executor."},
		{MetricStage, Histogram, unitSeconds, by(LabelStage), "What groups of blocks took: event_to_fetch, fetch_to_applied, applied_to_final (of those applied since the start). Exemplars carry the trace."},
		{MetricEvents, Counter, unitNone, by(LabelType), "Events published."},
		{MetricEventsLost, Counter, unitNone, nil, "Events dropped for readers that were awake already; harmless."},
		{MetricWakeups, Counter, unitNone, nil, "Waits of the syncer that ended. It stands still in an idle network."},
		{MetricSyncFailures, Counter, unitNone, nil, "Attempts of the syncer that failed and are tried again."},
		{MetricEvidence, Gauge, unitNone, nil, "Proofs kept that the proposer signed two headers of a height."},
		{MetricConflicts, Counter, unitNone, by(LabelKind, LabelSource), "Second items signed for one height."},
		{MetricReverts, Counter, unitNone, nil, "Times the chain was rolled back to follow DA."},
	}
}

func daMetrics() []Metric {
	return []Metric{
		{MetricDAHead, Gauge, unitHeight, nil, "Newest DA height."},
		{MetricDACursor, Gauge, unitHeight, nil, "Next DA height to read."},
		{MetricDARead, Counter, unitHeight, nil, "DA heights read and handed over."},
		{MetricDARetries, Counter, unitNone, nil, "Calls of DA that failed and were tried again."},
		{MetricDACalls, Counter, unitNone, by(LabelMethod, LabelOutcome), "Calls of DA: answered, absent (the height is still to come or gone), failed."},
		{MetricDACallSum, Counter, unitSeconds, by(LabelMethod), "Time spent waiting for them."},
		{MetricEndpointScore, Gauge, unitNone, by(LabelEndpoint), "Rank of a DA endpoint: 0 is best, a call that failed just now costs 1."},
		{MetricEndpointLatency, Gauge, unitSeconds, by(LabelEndpoint), "What a DA endpoint takes to tell its head."},
		{MetricEndpointLag, Gauge, unitHeight, by(LabelEndpoint), "DA heights a DA endpoint was behind the best when it last told."},
		{MetricEndpointUse, Gauge, unitNone, by(LabelEndpoint, LabelUse), "1 when a DA endpoint is the one that is asked first."},
		{MetricEndpointAnswers, Counter, unitNone, by(LabelEndpoint), "Good answers of a DA endpoint."},
		{MetricEndpointFails, Counter, unitNone, by(LabelEndpoint), "Calls of a DA endpoint that failed."},
		{MetricEndpointLies, Counter, unitNone, by(LabelEndpoint), "Answers of a DA endpoint that were not to be believed."},
		{MetricHints, Counter, unitNone, by(LabelOutcome), "Hints of peers where a header lies on DA, by what came of them."},
		{MetricJunk, Counter, unitNone, by(LabelReason), "Blobs of others, and blobs that are none."},
		{MetricDAGiven, Counter, unitNone, by(LabelPart), "What gave way to keep a bound of the DA worker."},
	}
}

func peerMetrics() []Metric {
	return []Metric{
		{MetricPeers, Gauge, unitNone, nil, "Connected peers."},
		{MetricChainPeers, Gauge, unitNone, nil, "Connected peers that speak the chain's protocols."},
		{MetricFaults, Counter, unitNone, by(LabelReason), "What cost peers points."},
		{MetricPeerScore, Gauge, unitNone, nil, "Lowest score of a connected peer: 0 is good, -100 is banned."},
		{MetricBans, Counter, unitNone, nil, "Bans of peers, those by hand too."},
		{MetricBanned, Gauge, unitNone, nil, "Peers banned now."},
		{MetricRescues, Counter, unitNone, nil, "Searches for peers when none of the chain was left."},
		{MetricGossip, Counter, unitNone, by(LabelKind, LabelVerdict), "Gossip received, by what was made of it."},
		{MetricRanges, Counter, unitNone, by(LabelKind), "Requests sent to peers."},
		{MetricRangeFails, Counter, unitNone, by(LabelKind), "Requests sent to peers without a usable answer."},
		{MetricServed, Counter, unitBytes, by(LabelKind), "Answers to peers."},
		{MetricRefused, Counter, unitNone, by(LabelKind), "Requests of peers that were refused."},
	}
}

func productionMetrics() []Metric {
	return []Metric{
		{MetricProduced, Counter, unitBlocks, nil, "Blocks made."},
		{MetricQueuedTxs, Gauge, unitTxs, by(LabelPart), "Transactions waiting for a block."},
		{MetricDroppedTxs, Counter, unitTxs, nil, "Transactions no block can hold."},
		{MetricForced, Gauge, unitTxs, nil, "Transactions forced through DA that are in no block yet."},
		{MetricCensored, Counter, unitTxs, nil, "Transactions forced through DA that the sequencer left out for good."},
		{MetricToPost, Gauge, unitBlocks, by(LabelKind), "Applied blocks not known to lie on DA."},
		{MetricPosts, Counter, unitNone, by(LabelKind), "Submissions to DA that succeeded."},
		{MetricResent, Counter, unitNone, by(LabelKind), "Items posted again because the outcome stayed unknown."},
	}
}
