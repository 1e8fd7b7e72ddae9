// Package names holds the names of spans, attributes, metrics and log fields, so
// that every module spells them alike and dashboards can rely on them.
package names

// Spans of a block's path, in the order in which they occur. docs/tracing.md tells
// what each of them covers.
const (
	SpanProduce   = "sequencer.produce" // the root of a block's trace
	SpanReap      = "sequencer.reap"
	SpanSign      = "sequencer.sign"
	SpanBroadcast = "sequencer.broadcast"
	SpanGossip    = "exchange.gossip"
	SpanRange     = "exchange.range"
	SpanAppend    = "store.append"
	SpanPublish   = "send block_events"
	SpanReceive   = "process block_events"
	SpanQueue     = "syncer.queue"
	SpanFetch     = "syncer.fetch"
	SpanPair      = "syncer.pair"
	SpanVerify    = "pipeline.verify"
	SpanExecute   = "pipeline.execute"
	SpanCommit    = "pipeline.commit"
	SpanDASubmit  = "da.submit"
	SpanDAPoll    = "da.poll"
	SpanRetrieve  = "da.retrieve"
	SpanDARead    = "da.read"
	SpanDADecode  = "da.decode"
	SpanHandOver  = "da.hand_over"
	SpanInclude   = "pipeline.include"
	SpanSeen      = "block.seen_on_da"
	SpanFinal     = "block.final"
)

// Attributes.
const (
	AttrChainID     = "chain.id"
	AttrHeight      = "block.height"
	AttrFromHeight  = "block.from_height"
	AttrToHeight    = "block.to_height"
	AttrHash        = "block.hash"
	AttrSource      = "block.source"
	AttrKind        = "block.kind"
	AttrBlockCount  = "block.count"
	AttrTxCount     = "tx.count"
	AttrDAHeight    = "da.height"
	AttrDACount     = "da.height_count"
	AttrDANamespace = "da.namespace"
	AttrBlobCount   = "blob.count"
	AttrBytes       = "size.bytes"
	AttrPeer        = "peer.id"
	AttrVerdict     = "gossip.verdict"
	AttrQueueWait   = "event.queue_wait_ms" // of the oldest event
	AttrLinksCut    = "links.omitted"       // links beyond the most a span has
)

// Messaging attributes, as OpenTelemetry's conventions name them, and what notifier
// and gossip are called as destinations.
const (
	AttrMessagingOperation   = "messaging.operation.type"
	AttrMessagingName        = "messaging.operation.name"
	AttrMessagingDestination = "messaging.destination.name"
	AttrMessagingCount       = "messaging.batch.message_count"

	DestinationEvents = "block_events"
	DestinationGossip = "block_gossip"
	OperationSend     = "send"
	OperationProcess  = "process"
)
