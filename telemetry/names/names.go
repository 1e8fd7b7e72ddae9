// Package names holds the names of spans, attributes and metrics, so that
// every module spells them alike and dashboards can rely on them.
package names

// Spans of a block's path, in the order in which they occur.
const (
	SpanAppend  = "store.append"
	SpanPublish = "send block_events"
	SpanReceive = "process block_events"
	SpanFetch   = "syncer.fetch"
	SpanVerify  = "pipeline.verify"
	SpanExecute = "pipeline.execute"
	SpanCommit  = "pipeline.commit"
	SpanInclude = "pipeline.include"

	SpanDAPoll     = "da.poll"
	SpanDARetrieve = "da.retrieve"
	SpanDASubmit   = "da.submit"

	SpanProduce   = "sequencer.produce"
	SpanReap      = "sequencer.reap"
	SpanBroadcast = "sequencer.broadcast"
	SpanRange     = "exchange.range"
)

// Attributes.
const (
	AttrChainID     = "chain.id"
	AttrHeight      = "block.height"
	AttrFromHeight  = "block.from_height"
	AttrToHeight    = "block.to_height"
	AttrHash        = "block.hash"
	AttrSource      = "block.source"
	AttrTxCount     = "tx.count"
	AttrBlockCount  = "block.count"
	AttrKind        = "block.kind"
	AttrDAHeight    = "da.height"
	AttrDANamespace = "da.namespace"
	AttrBlobCount   = "blob.count"
	AttrPeer        = "peer.id"
)
