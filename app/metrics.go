package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry/names"
)

// metricsOf returns what /metrics serves: the figures of the process and those
// of the node, which are read when somebody asks and cost nothing otherwise.
func metricsOf(m *monitor) prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(collector{m}) // an unchecked collector is never refused
	return prometheus.Gatherers{m.in.Setup.Metrics.Registry, own}
}

// collector turns what the parts know of themselves into metrics.
type collector struct{ m *monitor }

// Describe implements prometheus.Collector. Which series there are differs by
// role and over time.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	c.node(e)
	c.flow(e)
	c.da(e, c.m.in.Worker.Status())
	c.peers(e)
	exchanged(e, "header", c.m.in.HeaderEx.Status(), c.m.in.HeaderEx.Stats(), c.m.in.Setup.Config.Exchange)
	if d := c.m.in.Extras.DataEx; d != nil {
		exchanged(e, "data", d.Status(), d.Stats(), c.m.in.Setup.Config.Exchange)
	}
	c.production(e)
	c.forced(e)
}

// forced is there where transactions can be forced through DA.
func (c collector) forced(e emitter) {
	s := c.m.in.Extras.forcedStatus()
	if s == nil {
		return
	}
	e.gauge(names.MetricForced, "Transactions forced through DA that are in no block yet.", uint64(s.Waiting)) //nolint:gosec // a count
	e.counter(names.MetricCensored, "Transactions forced through DA that the sequencer left out for good.", s.Censored)
	e.held("forced", c.m.in.Extras.forcedBytes())
}

func (c collector) node(e emitter) {
	s := c.m.Status(context.Background())
	for head, height := range map[string]uint64{
		"header": s.Heads.Header, "data": s.Heads.Data, "applied": s.Heads.Applied,
		"final": s.Heads.Final, "p2p": s.Heads.P2P, "da": s.Heads.DA,
	} {
		e.gauge(names.MetricHead, "Block heights: in the stores, applied, final, and known from each source.", height, names.LabelHead, head)
	}
	e.gauge(names.MetricLag, "Blocks from the applied to the best known one.", s.Lag.Blocks)
	e.gauge(names.MetricFinalLag, "Blocks from the final to the applied one.", s.Lag.Final)
	e.gauge(names.MetricPeers, "Connected peers.", uint64(s.P2P.Peers))                                            //nolint:gosec // a count
	e.gauge(names.MetricChainPeers, "Connected peers that speak the chain's protocols.", uint64(s.P2P.ChainPeers)) //nolint:gosec // a count
	e.gauge(names.MetricDAHead, "Newest DA height.", s.DA.Head)
	e.gauge(names.MetricDACursor, "Next DA height to read.", s.DA.Cursor)
	e.gauge(names.MetricReady, "1 when /health/ready says so.", one(c.m.Ready(context.Background()).Ready))
}

// flow is the way from an event to an applied block.
func (c collector) flow(e emitter) {
	snap, sync, events, store := c.m.in.Pipeline.Snapshot(), c.m.in.Syncer.Stats(), c.m.in.Notifier.Stats(), c.m.in.Store.Stats()
	e.counter(names.MetricBlocks, "Blocks applied.", snap.Blocks)
	e.counter(names.MetricTxs, "Transactions in applied blocks.", snap.Txs)
	e.counter(names.MetricWakeups, "Waits of the syncer that ended.", sync.Wakeups)
	e.counter(names.MetricSyncFailures, "Attempts of the syncer that failed and are tried again.", sync.Failures)
	for t, n := range events.Published {
		e.counter(names.MetricEvents, "Events published.", n, names.LabelType, t.String())
	}
	e.counter(names.MetricEventsLost, "Events dropped for readers that were awake already.", events.Dropped)
	e.gauge(names.MetricEvidence, "Proofs kept that the proposer signed two headers of a height.", uint64(c.m.in.Store.EvidenceCount())) //nolint:gosec // a count
	e.counter(names.MetricReverts, "Times the chain was rolled back to follow DA.", c.m.in.Pipeline.Conflicts().Reverts)
	e.held("store_headers", store.CachedHeaderBytes)
	e.held("store_data", store.CachedDataBytes)
}

func (c collector) da(e emitter, w daworker.Status) {
	for _, end := range c.m.endpoints() {
		name := []string{names.LabelEndpoint, end.Address}
		e.float(names.MetricEndpointScore, "Rank of a DA endpoint: 0 is best, a call that failed just now costs 1.", end.Score, name...)
		e.float(names.MetricEndpointLatency, "What a DA endpoint takes to tell its head.", end.Latency, name...)
		e.gauge(names.MetricEndpointLag, "DA heights a DA endpoint was behind the best when it last told.", end.Lag, name...)
		e.gauge(names.MetricEndpointUse, endpointUseHelp, one(end.Reading), append(name, names.LabelUse, "reading")...)
		e.gauge(names.MetricEndpointUse, endpointUseHelp, one(end.Posting), append(name, names.LabelUse, "posting")...)
		e.counter(names.MetricEndpointAnswers, "Good answers of a DA endpoint.", end.Answers, name...)
		e.counter(names.MetricEndpointFails, "Calls of a DA endpoint that failed.", end.Failures, name...)
		e.counter(names.MetricEndpointLies, "Answers of a DA endpoint that were not to be believed.", end.Lies, name...)
	}
	e.counter(names.MetricDARead, "DA heights read and handed over.", w.Stats.Heights)
	e.counter(names.MetricDARetries, "Calls of DA that failed and were tried again.", w.Stats.Retries)
	e.counter(names.MetricConflicts, "Second items signed for one height.", w.Stats.Conflicts, names.LabelKind, "header", names.LabelSource, "da")
	for reason, n := range w.Stats.JunkByReason {
		e.counter(names.MetricJunk, "Blobs of others, and blobs that are none.", n, names.LabelReason, reason)
	}
	const hintHelp = "Hints of peers where a header lies on DA, by what came of them."
	e.counter(names.MetricHints, hintHelp, w.Stats.HintsUsed, names.LabelOutcome, "used")
	e.counter(names.MetricHints, hintHelp, w.Stats.HintsUseless, names.LabelOutcome, "wrong")
	const givenHelp = "What gave way to keep a bound."
	e.counter(names.MetricDAGiven, givenHelp, w.Stats.Dropped, names.LabelPart, "da_pending")
	e.counter(names.MetricDAGiven, givenHelp, w.Stats.Evicted, names.LabelPart, "da_quarantine")
	e.bounded("da_pending", w.Pending.Bytes, c.m.in.Setup.Config.DAWorker.PendingBytes)
	e.bounded("da_quarantine", w.Pending.QuarantineBytes, c.m.in.Setup.Config.DAWorker.QuarantineBytes)
	e.bounded("da_prefetch", w.Pending.PrefetchBytes, c.m.in.Setup.Config.DAWorker.PrefetchBytes)
	e.held("da_hints", w.Pending.HintBytes)
}

func (c collector) peers(e emitter) {
	s, cfg := c.m.in.Network.Stats(), c.m.in.Setup.Config.P2P
	for reason, n := range s.Offences {
		e.counter(names.MetricFaults, "What cost peers points.", n, names.LabelReason, reason)
	}
	e.counter(names.MetricBans, "Bans of peers, those by hand too.", s.Bans)
	e.gauge(names.MetricBanned, "Peers banned now.", uint64(s.Banned)) //nolint:gosec // a count
	e.counter(names.MetricRescues, "Searches for peers when none of the chain was left.", s.Rescues)
	e.counter(names.MetricGaveWay, gaveWayHelp, s.Dropped, names.LabelPart, "gossip_rate")
	e.counter(names.MetricGaveWay, gaveWayHelp, s.SlowPeers, names.LabelPart, "gossip_queue")
	e.bounded("gossip_queue", int(s.QueueBytes), cfg.MaxPeers*cfg.GossipQueueBytes)
}

const gaveWayHelp = "What gave way to keep a bound."

func exchanged(e emitter, kind string, now exchange.Status, s exchange.Stats, cfg exchange.Config) {
	for verdict, n := range s.Gossip {
		e.counter(names.MetricGossip, "Gossip received, by what was made of it.", n, names.LabelKind, kind, names.LabelVerdict, verdict)
	}
	e.counter(names.MetricRanges, "Requests sent to peers.", s.Requests, names.LabelKind, kind)
	e.counter(names.MetricRangeFails, "Requests sent to peers without a usable answer.", s.Failures, names.LabelKind, kind)
	e.counter(names.MetricServed, "Bytes of answers to peers.", s.ServedSize, names.LabelKind, kind)
	e.counter(names.MetricRefused, "Requests of peers that were refused.", s.Refused, names.LabelKind, kind)
	e.counter(names.MetricConflicts, "Second items signed for one height.", s.Conflicts, names.LabelKind, kind, names.LabelSource, "p2p")
	e.counter(names.MetricGaveWay, gaveWayHelp, s.GaveWay, names.LabelPart, "exchange_"+kind+"_quarantine")
	e.bounded("exchange_"+kind+"_queue", int(now.QueuedBytes), cfg.QueueBytes)
	e.bounded("exchange_"+kind+"_parked", int(now.ParkedBytes), cfg.ParkBytes)
	e.bounded("exchange_"+kind+"_gossip", int(now.CheckedBytes), cfg.GossipBytes)
	e.bounded("exchange_"+kind+"_quarantine", int(now.WaitingBytes), cfg.QuarantineBytes)
	e.bounded("exchange_"+kind+"_serving", int(now.ServingBytes), cfg.ServeBytes)
}

func (c collector) production(e emitter) {
	if pool, ok := c.m.in.Extras.Executor.(interface{ Waiting() (txs, bytes int) }); ok {
		txs, bytes := pool.Waiting()
		e.gauge(names.MetricQueuedTxs, "Transactions waiting for a block.", uint64(txs), names.LabelPart, "mempool") //nolint:gosec // a count
		e.held("mempool", bytes)
	}
	if c.m.in.Extras.Producer == nil || c.m.in.Extras.Submitter == nil {
		return
	}
	p, sub := c.m.in.Extras.Producer.Stats(), c.m.in.Extras.Submitter.Stats()
	e.counter(names.MetricProduced, "Blocks made.", p.Produced)
	e.counter(names.MetricDroppedTxs, "Transactions no block can hold.", p.DroppedTxs)
	e.gauge(names.MetricQueuedTxs, "Transactions waiting for a block.", uint64(p.QueuedTxs), names.LabelPart, "producer") //nolint:gosec // a count
	e.held("producer", p.QueuedBytes)
	for kind, lane := range map[string]sequencer.LaneStats{"header": sub.Header, "data": sub.Data} {
		e.gauge(names.MetricToPost, "Applied blocks not known to lie on DA.", lane.Lag, names.LabelKind, kind)
		e.counter(names.MetricPosts, "Submissions to DA that succeeded.", lane.Submissions, names.LabelKind, kind)
		e.counter(names.MetricResent, "Items posted again because the outcome stayed unknown.", lane.Resent, names.LabelKind, kind)
	}
}

const endpointUseHelp = "1 when a DA endpoint is the one that is asked first."

func one(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}

// emitter sends figures; labels are names and values in turn.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(name, help string, value uint64, labels ...string) {
	e.send(prometheus.GaugeValue, name, help, float64(value), labels)
}

func (e emitter) float(name, help string, value float64, labels ...string) {
	e.send(prometheus.GaugeValue, name, help, value, labels)
}

func (e emitter) counter(name, help string, value uint64, labels ...string) {
	e.send(prometheus.CounterValue, name, help, float64(value), labels)
}

// held is the size of one bounded part.
func (e emitter) held(part string, bytes int) {
	e.gauge(names.MetricHeld, "Bytes held by the bounded queues and caches.", uint64(max(bytes, 0)), names.LabelPart, part)
}

// bounded is held with its bound.
func (e emitter) bounded(part string, bytes, limit int) {
	e.held(part, bytes)
	e.gauge(names.MetricHeldLimit, "Bounds of the queues and caches, in bytes.", uint64(max(limit, 0)), names.LabelPart, part)
}

func (e emitter) send(t prometheus.ValueType, name, help string, value float64, labels []string) {
	var keys, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		keys, values = append(keys, labels[i]), append(values, labels[i+1])
	}
	e.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, keys, nil), t, value, values...)
}
