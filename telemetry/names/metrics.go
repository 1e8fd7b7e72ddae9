package names

// Metrics, as Prometheus serves them. What is counted in sums since the start of
// the process ends in _total.
const (
	MetricHead         = "tandem_head_height" // by LabelHead
	MetricLag          = "tandem_lag_blocks"
	MetricReplay       = "tandem_replay_blocks"
	MetricFinalLag     = "tandem_final_lag_blocks"
	MetricReady        = "tandem_ready"
	MetricLive         = "tandem_live"
	MetricConnections  = "tandem_api_connections"
	MetricProblem      = "tandem_problem"              // by LabelKind
	MetricLoopBusy     = "tandem_loop_busy_seconds"    // by LabelLoop
	MetricBlocks       = "tandem_applied_blocks_total" // by LabelSource
	MetricBytes        = "tandem_applied_bytes_total"  // by LabelSource
	MetricExecutor     = "tandem_executor_seconds_total"
	MetricStage        = "tandem_stage_seconds" // by LabelStage
	MetricSourceLag    = "tandem_source_lag"    // by LabelSource
	MetricDisk         = "tandem_disk_bytes"    // by LabelPart
	MetricTxs          = "tandem_applied_txs_total"
	MetricPeers        = "tandem_peers"
	MetricChainPeers   = "tandem_chain_peers"
	MetricDAHead       = "tandem_da_head_height"
	MetricDACursor     = "tandem_da_cursor_height"
	MetricDARead       = "tandem_da_heights_read_total"
	MetricDARetries    = "tandem_da_retries_total"
	MetricJunk         = "tandem_da_junk_total"       // by LabelReason
	MetricDAGiven      = "tandem_da_given_way_total"  // over a bound, by LabelPart
	MetricHeld         = "tandem_held_bytes"          // by LabelPart: every bounded queue and cache
	MetricHeldLimit    = "tandem_held_limit_bytes"    // by LabelPart: their bounds
	MetricFaults       = "tandem_peer_offences_total" // by LabelReason: what cost peers points
	MetricPeerScore    = "tandem_peer_score_lowest"
	MetricBans         = "tandem_peer_bans_total"
	MetricBanned       = "tandem_banned_peers"
	MetricRescues      = "tandem_isolation_searches_total"     // no peer of the chain was left
	MetricGaveWay      = "tandem_gave_way_total"               // over a bound, by LabelPart
	MetricHints        = "tandem_da_hints_total"               // by LabelOutcome
	MetricEvents       = "tandem_events_total"                 // by LabelType
	MetricEventsLost   = "tandem_events_dropped_total"         // harmless: the reader was awake already
	MetricWakeups      = "tandem_syncer_wakeups_total"         // idle means that this stands still
	MetricSyncFailures = "tandem_syncer_failures_total"        // attempts that are tried again
	MetricGossip       = "tandem_gossip_total"                 // by LabelKind and LabelVerdict
	MetricRanges       = "tandem_range_requests_total"         // by LabelKind
	MetricRangeFails   = "tandem_range_request_failures_total" // by LabelKind
	MetricServed       = "tandem_range_served_bytes_total"     // by LabelKind
	MetricRefused      = "tandem_range_requests_refused_total" // by LabelKind
	MetricEvidence     = "tandem_evidence"                     // pairs of headers kept
	MetricReverts      = "tandem_reverts_total"                // roll-backs to follow DA
	MetricConflicts    = "tandem_conflicts_total"              // by LabelKind, and the source
	MetricForced       = "tandem_forced_waiting_txs"           // forced through DA, in no block yet
	MetricCensored     = "tandem_censored_txs_total"           // of them, given up on
	MetricProduced     = "tandem_produced_blocks_total"
	MetricQueuedTxs    = "tandem_queued_txs"
	MetricDroppedTxs   = "tandem_dropped_txs_total"
	MetricToPost       = "tandem_da_unposted_blocks" // by LabelKind
	MetricPosts        = "tandem_da_submissions_total"
	MetricResent       = "tandem_da_resent_total"

	MetricEndpointScore   = "tandem_da_endpoint_score" // this and the next by LabelEndpoint
	MetricEndpointLatency = "tandem_da_endpoint_latency_seconds"
	MetricEndpointLag     = "tandem_da_endpoint_lag_heights"
	MetricEndpointUse     = "tandem_da_endpoint_in_use" // and by LabelUse
	MetricEndpointAnswers = "tandem_da_endpoint_answers_total"
	MetricEndpointFails   = "tandem_da_endpoint_failures_total"
	MetricEndpointLies    = "tandem_da_endpoint_lies_total"

	MetricDACalls   = "tandem_da_calls_total" // by LabelMethod and LabelOutcome
	MetricDACallSum = "tandem_da_call_seconds_total"
)

// Labels of metrics.
const (
	LabelEndpoint = "endpoint"
	LabelHead     = "head"
	LabelKind     = "kind"
	LabelMethod   = "method"
	LabelOutcome  = "outcome"
	LabelPart     = "part"
	LabelReason   = "reason"
	LabelSource   = "source"
	LabelType     = "type"
	LabelUse      = "use"
	LabelVerdict  = "verdict"
	LabelLoop     = "loop"
	LabelStage    = "stage"
)

// Stages of a block's path, values of LabelStage.
const (
	StageFetch = "event_to_fetch"   // from the oldest event to the read it led to
	StageApply = "fetch_to_applied" // of a range of blocks
	StageFinal = "applied_to_final" // of the newest block of a group
)
