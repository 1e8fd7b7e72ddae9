package app

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// metricsOf returns what /metrics serves: the figures of the process and those
// of the node, which are read when somebody asks and cost nothing otherwise.
func metricsOf(m *monitor) prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(collector{m, descriptors()}) // an unchecked collector is never refused
	return prometheus.Gatherers{m.in.Setup.Metrics.Registry, own}
}

// pushing sends what /metrics serves to a collector too, if there is one.
func pushing() fx.Option {
	return fx.Module("metrics", fx.Invoke(func(lc fx.Lifecycle, s Setup, m *monitor) {
		c := s.Config
		push := telemetry.NewPush(c.Metrics, c.Tracing, metricsOf(m), s.Log.Named("telemetry"))
		lc.Append(fx.StartStopHook(push.Start, push.Stop))
	}))
}

// collector turns what the parts know of themselves into metrics.
type collector struct {
	m     *monitor
	known map[string]descriptor
}

// Describe implements prometheus.Collector. Which series there are differs by
// role and over time.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{c.known, ch}
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
	c.disk(e)
	c.clients(e)
}

// clients is what those of the API make the node hold.
func (c collector) clients(e emitter) {
	load, cfg := c.m.in.Clients.Load(), c.m.in.Setup.Config.RPC
	put(e, names.MetricConnections, load.Connections)
	put(e, names.MetricGaveWay, load.Closed, "rpc_connections")
	put(e, names.MetricGaveWay, load.BodiesClosed, "rpc_bodies")
	e.bounded("rpc_bodies", int(load.BodyBytes), cfg.BodyBytes)
}

// forced is there where transactions can be forced through DA.
func (c collector) forced(e emitter) {
	s := c.m.in.Extras.forcedStatus()
	if s == nil {
		return
	}
	put(e, names.MetricForced, s.Waiting)
	put(e, names.MetricCensored, s.Censored)
	put(e, names.MetricHeld, c.m.in.Extras.forcedBytes(), "forced")
}

func (c collector) node(e emitter) {
	s := c.m.Status(context.Background())
	for head, height := range map[string]uint64{
		"header": s.Heads.Header, "data": s.Heads.Data, "applied": s.Heads.Applied,
		"final": s.Heads.Final, "p2p": s.Heads.P2P, "da": s.Heads.DA,
	} {
		put(e, names.MetricHead, height, head)
	}
	put(e, names.MetricLag, s.Lag.Blocks)
	lacking := uint64(0)
	if r := s.Replay; r != nil {
		lacking = r.To + 1 - r.At
	}
	put(e, names.MetricReplay, lacking)
	if s.DA.Enabled { // nothing becomes final otherwise
		put(e, names.MetricFinalLag, s.Lag.Final)
	}
	if s.P2P.Enabled {
		put(e, names.MetricPeers, s.P2P.Peers)
		put(e, names.MetricChainPeers, s.P2P.ChainPeers)
	}
	put(e, names.MetricDAHead, s.DA.Head)
	put(e, names.MetricDACursor, s.DA.Cursor)
	for _, kind := range problems.Kinds() {
		found := slices.ContainsFunc(s.Problems, func(p rpc.Problem) bool { return p.Kind == string(kind) })
		put(e, names.MetricProblem, yes(found), string(kind))
	}
	put(e, names.MetricReady, yes(c.m.Ready(context.Background()).Ready))
	put(e, names.MetricLive, yes(c.m.Live(context.Background()) == nil))
	for _, l := range c.m.loops(time.Now(), 0) {
		put(e, names.MetricLoopBusy, l.busy.Seconds(), l.part)
	}
	put(e, names.MetricSourceLag, s.P2P.Progress.Lag, "p2p")
	put(e, names.MetricSourceLag, s.DA.Progress.Lag, "da")
}

// flow is the way from an event to an applied block.
func (c collector) flow(e emitter) {
	snap, sync, events, store := c.m.in.Pipeline.Snapshot(), c.m.in.Syncer.Stats(), c.m.in.Notifier.Stats(), c.m.in.Store.Stats()
	for src, share := range snap.By {
		if share.Blocks > 0 {
			put(e, names.MetricBlocks, share.Blocks, block.Source(src).String())
			put(e, names.MetricBytes, share.Bytes, block.Source(src).String())
		}
	}
	put(e, names.MetricExecutor, snap.Executing.Seconds())
	put(e, names.MetricTxs, snap.Txs)
	put(e, names.MetricWakeups, sync.Wakeups)
	put(e, names.MetricSyncFailures, sync.Failures)
	for t, n := range events.Published {
		put(e, names.MetricEvents, n, t.String())
	}
	put(e, names.MetricEventsLost, events.Dropped)
	put(e, names.MetricEvidence, c.m.in.Store.EvidenceCount())
	put(e, names.MetricReverts, c.m.in.Pipeline.Conflicts().Reverts)
	half := c.m.in.Setup.Config.Store.CacheBytes / 2 // headers and data
	e.bounded("store_headers", store.CachedHeaderBytes, half)
	e.bounded("store_data", store.CachedDataBytes, half)
}

func (c collector) da(e emitter, w daworker.Status) {
	for _, end := range c.m.endpoints() {
		name := end.Address
		put(e, names.MetricEndpointScore, end.Score, name)
		put(e, names.MetricEndpointLatency, end.Latency, name)
		put(e, names.MetricEndpointLag, end.Lag, name)
		put(e, names.MetricEndpointUse, yes(end.Reading), name, "reading")
		put(e, names.MetricEndpointUse, yes(end.Posting), name, "posting")
		put(e, names.MetricEndpointAnswers, end.Answers, name)
		put(e, names.MetricEndpointFails, end.Failures, name)
		put(e, names.MetricEndpointLies, end.Lies, name)
	}
	if pool := c.m.pool(); pool != nil {
		for _, call := range pool.Calls() {
			put(e, names.MetricDACalls, call.Answered, call.Method, "answered")
			put(e, names.MetricDACalls, call.Absent, call.Method, "absent")
			put(e, names.MetricDACalls, call.Failed, call.Method, "failed")
			put(e, names.MetricDACallSum, call.Time.Seconds(), call.Method)
		}
		e.bounded("da_answers", pool.AnswerBytes(), c.m.in.Setup.Config.DA.AnswerBytes)
	}
	put(e, names.MetricDARead, w.Stats.Heights)
	put(e, names.MetricDARetries, w.Stats.Retries)
	put(e, names.MetricConflicts, w.Stats.Conflicts, "header", "da")
	for reason, n := range w.Stats.JunkByReason {
		put(e, names.MetricJunk, n, reason)
	}
	put(e, names.MetricHints, w.Stats.HintsUsed, "used")
	put(e, names.MetricHints, w.Stats.HintsUseless, "wrong")
	put(e, names.MetricDAGiven, w.Stats.Dropped, "da_pending")
	put(e, names.MetricDAGiven, w.Stats.Evicted, "da_quarantine")
	e.bounded("da_pending", w.Pending.Bytes, c.m.in.Setup.Config.DAWorker.PendingBytes)
	e.bounded("da_quarantine", w.Pending.QuarantineBytes, c.m.in.Setup.Config.DAWorker.QuarantineBytes)
	e.bounded("da_unproven", w.Pending.UnprovenBytes, c.m.in.Setup.Config.DAWorker.QuarantineBytes)
	e.bounded("da_prefetch", w.Pending.PrefetchBytes, c.m.in.Setup.Config.DAWorker.PrefetchBytes)
	put(e, names.MetricHeld, w.Pending.HintBytes, "da_hints")
}

func (c collector) peers(e emitter) {
	s, cfg := c.m.in.Network.Stats(), c.m.in.Setup.Config.P2P
	for reason, n := range s.Offences {
		put(e, names.MetricFaults, n, reason)
	}
	lowest := 0.0
	for _, p := range c.m.in.Network.Peers() {
		lowest = min(lowest, p.Score)
	}
	put(e, names.MetricPeerScore, lowest)
	put(e, names.MetricBans, s.Bans)
	put(e, names.MetricBanned, s.Banned)
	put(e, names.MetricRescues, s.Rescues)
	put(e, names.MetricGaveWay, s.Dropped, "gossip_rate")
	put(e, names.MetricGaveWay, s.SlowPeers, "gossip_queue")
	put(e, names.MetricGaveWay, s.Crowded, "gossip_unchecked")
	e.bounded("gossip_queue", int(s.QueueBytes), cfg.MaxPeers*cfg.GossipQueueBytes)
	e.bounded("gossip_unchecked", int(s.Unchecked), cfg.GossipUncheckedBytes)
	e.bounded("windows", int(s.Windows), int(cfg.BufferBytes))
}

func exchanged(e emitter, kind string, now exchange.Status, s exchange.Stats, cfg exchange.Config) {
	for verdict, n := range s.Gossip {
		put(e, names.MetricGossip, n, kind, verdict)
	}
	put(e, names.MetricRanges, s.Requests, kind)
	put(e, names.MetricRangeFails, s.Failures, kind)
	put(e, names.MetricServed, s.ServedSize, kind)
	put(e, names.MetricRefused, s.Refused, kind)
	put(e, names.MetricConflicts, s.Conflicts, kind, "p2p")
	put(e, names.MetricGaveWay, s.GaveWay, "exchange_"+kind+"_quarantine")
	e.bounded("exchange_"+kind+"_queue", int(now.QueuedBytes), cfg.QueueBytes)
	e.bounded("exchange_"+kind+"_parked", int(now.ParkedBytes), cfg.ParkBytes)
	e.bounded("exchange_"+kind+"_gossip", int(now.CheckedBytes), cfg.GossipBytes)
	e.bounded("exchange_"+kind+"_quarantine", int(now.WaitingBytes), cfg.QuarantineBytes)
	e.bounded("exchange_"+kind+"_serving", int(now.ServingBytes), cfg.ServeBytes)
}

func (c collector) production(e emitter) {
	if pool, ok := c.m.in.Extras.Executor.(interface{ Waiting() (txs, bytes int) }); ok {
		txs, bytes := pool.Waiting()
		put(e, names.MetricQueuedTxs, txs, "mempool")
		e.bounded("mempool", bytes, c.m.in.Setup.Config.Execution.Mempool.MaxBytes)
	}
	if c.m.in.Extras.Producer == nil || c.m.in.Extras.Submitter == nil {
		return
	}
	p, sub := c.m.in.Extras.Producer.Stats(), c.m.in.Extras.Submitter.Stats()
	put(e, names.MetricProduced, p.Produced)
	put(e, names.MetricDroppedTxs, p.DroppedTxs)
	put(e, names.MetricQueuedTxs, p.QueuedTxs, "producer")
	e.bounded("producer", p.QueuedBytes, c.m.in.Setup.Config.Sequencer.MaxQueueBytes)
	for kind, lane := range map[string]sequencer.LaneStats{"header": sub.Header, "data": sub.Data} {
		put(e, names.MetricToPost, lane.Lag, kind)
		put(e, names.MetricPosts, lane.Submissions, kind)
		put(e, names.MetricResent, lane.Resent, kind)
	}
}

// disk measures the databases. They are a few hundred files.
func (c collector) disk(e emitter) {
	cfg := c.m.in.Setup.Config.In(c.m.in.Setup.Home)
	parts := map[string]string{"chain": cfg.DB.Path}
	if c.m.in.Setup.Role.Executes() {
		parts["execution"] = filepath.Join(c.m.in.Setup.Home, "data", "execution")
	}
	for part, path := range parts {
		put(e, names.MetricDisk, sizeOf(path), part)
	}
}

// sizeOf returns the bytes of all files below a path. Those that go away
// meanwhile do not count.
func sizeOf(path string) uint64 {
	var size uint64
	_ = filepath.WalkDir(path, func(_ string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return nil //nolint:nilerr // it is gone
		}
		if info, err := f.Info(); err == nil {
			size += uint64(info.Size()) //nolint:gosec // not negative
		}
		return nil
	})
	return size
}
