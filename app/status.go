package app

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/forced"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// monitor gathers what the parts know of themselves for people and probes.
type monitor struct {
	in      monitorIn
	started time.Time
	rate    rate
	p2pRate rate  // of blocks that peers brought
	lagging stall // the next height is known and not applied
	wedged  stall // it is stored and not applied
}

type monitorIn struct {
	fx.In

	Setup    Setup
	Disk     *leveldb.Watch
	Store    *chainstore.Store
	Headers  Headers
	Data     Data
	Pipeline *pipeline.Pipeline
	Syncer   *syncer.Syncer
	Network  *p2p.Node
	Client   da.Client
	Worker   *daworker.Worker
	HeaderEx *exchange.Exchange[*block.SignedHeader]
	Notifier *notifier.Notifier
	Problems *problems.Board
	Clients  *rpc.Clients
	Clock    block.Clock
	Extras   extras
}

// extras are the parts that only some roles have; the others leave them nil.
type extras struct {
	DataEx    *exchange.Exchange[*block.Data]
	Producer  *sequencer.Producer
	Taker     *forced.Taker
	Watcher   *forced.Watcher
	Submitter *sequencer.Submitter
	Executor  execution.Executor
}

func newMonitor(in monitorIn) *monitor {
	now := time.Now()
	// The first answer shows the rate since start, later ones that since the answer before.
	return &monitor{in: in, started: now, rate: rate{at: now}, p2pRate: rate{at: now}}
}

// NodeID implements rpc.Network.
func (m *monitor) NodeID() string { return m.in.Network.ID().String() }

// ListenAddresses implements rpc.Network.
func (m *monitor) ListenAddresses() []string {
	var out []string
	for _, a := range m.in.Network.Addresses() {
		out = append(out, a.String())
	}
	return out
}

// ConnectedPeers implements rpc.Network.
func (m *monitor) ConnectedPeers() []rpc.Peer {
	peers := m.in.Network.Peers()
	out := make([]rpc.Peer, len(peers))
	for i, p := range peers {
		out[i] = rpc.Peer{ID: p.ID.String(), Address: p.Address.String()}
	}
	return out
}

// Status implements rpc.Node.
func (m *monitor) Status(ctx context.Context) rpc.Status {
	snap := m.in.Pipeline.Snapshot()
	s := rpc.Status{
		Version: m.in.Setup.Version, Role: m.in.Setup.Role.Name(), ChainID: m.in.Setup.Genesis.ChainID,
		Genesis: m.in.Setup.Genesis.Hash().String(), NodeID: m.NodeID(),
		Heads: rpc.Heads{
			Header: m.in.Headers.Height(), Data: m.in.Data.Height(), Applied: snap.Applied(), Final: snap.Final,
			DA: m.in.Store.Included(),
		},
		Applied: rpc.Applied{
			StateRoot: shortRoot(snap.State.AppHash), BlockTime: snap.State.LastTime, At: snap.AppliedAt,
		},
		P2P: m.p2pStatus(), Forced: m.in.Extras.forcedStatus(),
	}
	if snap.Applied() > 0 {
		s.Applied.Hash = snap.AppliedHash.String()
	}
	if snap.Blocks > 0 {
		s.Applied.Source = m.source(snap.Source)
	}
	if snap.Final > 0 {
		s.Final = rpc.Final{HeaderDA: m.in.Store.HeaderHint(snap.Final), DataDA: m.in.Store.DataHint(snap.Final)}
	}
	w := waits{Syncer: m.in.Syncer.Stats(), Worker: m.in.Worker.Status(), Lies: m.in.HeaderEx.Stats().Lies}
	s.DA = rpc.DA{
		Enabled: len(m.in.Setup.Config.DA.Addresses) > 0 || !w.Worker.LastOK.IsZero(), Phase: string(w.Worker.Phase),
		Head: w.Worker.Head.Height, Cursor: w.Worker.Scanned, LastOK: w.Worker.LastOK, Error: w.Worker.LastErr,
		Endpoints: m.endpoints(),
	}
	if pool := m.pool(); pool != nil {
		s.DA.Identity = pool.Identity()
	}
	s.P2P.Progress = m.p2pSource(s.P2P)
	s.DA.Progress = daSource(s.DA, s.Heads.DA, w.Worker, da.BlockTimeOf(m.in.Client, m.in.Setup.Config.DAWorker.PollInterval))
	s.Heads.P2P = s.P2P.Target
	best := m.best()
	s.Lag = rpc.Lag{Blocks: best - min(best, s.Heads.Applied), Final: s.Heads.Applied - min(s.Heads.Applied, s.Heads.Final), Rate: m.rate.of(snap.Blocks)}
	if s.Lag.Blocks > 0 {
		s.Lag.Seconds = age(snap.State.LastTime, m.in.Clock())
	}
	s.Lag.ETA = eta(s.Lag.Blocks, s.Lag.Rate)
	if r := m.in.Pipeline.Replay(); r != nil {
		s.Replay = &rpc.Replay{At: r.At, To: r.To}
		w.Replay = replayText(r)
	}
	s.Sequencer = m.sequencerStatus(&w)
	s.Problems = m.problems()
	s.WaitingFor = waitingFor(s, w)
	s.Conflicts = m.conflicts(ctx)
	return s
}

// problems returns the conditions that last, as the API shows them.
func (m *monitor) problems() []rpc.Problem {
	var out []rpc.Problem
	for _, p := range m.in.Problems.List() {
		out = append(out, rpc.Problem{Kind: string(p.Kind), Subject: p.Subject, Reason: p.Reason, Since: p.Since, Unready: p.Unready})
	}
	return out
}

// pool is the client of DA where it knows how it does; nil otherwise.
func (m *monitor) pool() *da.Pool {
	p, _ := m.in.Client.(*da.Pool)
	return p
}

// endpoints is the health of the ways to DA, as far as the client knows it.
func (m *monitor) endpoints() []rpc.DAEndpoint {
	pool := m.pool()
	if pool == nil {
		return nil
	}
	var out []rpc.DAEndpoint
	for _, e := range pool.Endpoints() {
		out = append(out, rpc.DAEndpoint{
			Address: e.Address, Reading: e.Reading, Posting: e.Posting, Score: e.Score, Head: e.Head, Lag: e.Lag,
			Latency: e.Latency.Seconds(), Answers: e.Answers, Failures: e.Failures, Lies: e.Lies, LastOK: e.LastOK, Error: e.LastErr,
		})
	}
	return out
}

// source names where a block came from. Blocks whose event was lost, or not yet
// heard, count as of P2P, which cannot be where there is none.
func (m *monitor) source(s block.Source) string {
	if s == block.SourceP2P && m.in.Setup.Config.P2P.Disabled {
		s = block.SourceDA
	}
	return s.String()
}

// best returns the highest height the node knows of.
func (m *monitor) best() uint64 {
	return max(m.in.Headers.Height(), m.in.HeaderEx.Status().Target)
}

func (m *monitor) p2pStatus() rpc.P2P {
	ex := m.in.HeaderEx.Status()
	s := rpc.P2P{
		Enabled: !m.in.Setup.Config.P2P.Disabled, Peers: len(m.in.Network.Peers()), ChainPeers: ex.Peers, Target: ex.Target,
		Error: ex.LastErr, Listen: m.ListenAddresses(),
	}
	if d := m.in.Extras.DataEx; d != nil && s.Error == "" {
		s.Error = d.Status().LastErr
	}
	return s
}

func (m *monitor) sequencerStatus(w *waits) *rpc.Sequencer {
	if m.in.Extras.Producer == nil || m.in.Extras.Submitter == nil {
		return nil
	}
	p, sub := m.in.Extras.Producer.Stats(), m.in.Extras.Submitter.Stats()
	w.Producer, w.Lanes = p.WaitingFor, []sequencer.LaneStats{sub.Header, sub.Data}
	s := &rpc.Sequencer{
		Produced: p.Produced, LastBlock: p.LastTime, Paused: p.Paused, Error: p.LastError,
		Late:           !p.OutOfOffice && m.late(p),
		PendingHeaders: sub.Header.Lag, PendingData: sub.Data.Lag,
		// Data that is empty has nothing to post: it counts as on DA with its header.
		SubmittedHeader: sub.Header.Submitted, SubmittedData: min(sub.Header.Submitted, sub.Data.Submitted),
	}
	for _, lane := range w.Lanes {
		if s.Error == "" {
			s.Error = lane.LastError
		}
	}
	return s
}

// late reports whether a block is overdue. Once one was made it knows by the monotonic
// clock; before, the chain may have a start time to wait for.
func (m *monitor) late(p sequencer.ProducerStats) bool {
	last, now := p.LastAt, time.Now()
	if last.IsZero() {
		last = lastOf(m.started, now.Add(m.in.Setup.Genesis.StartTime.Sub(m.in.Clock())))
	}
	return late(m.in.Setup.Config.Sequencer, last, now)
}

func lastOf(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// Ready implements rpc.Node.
func (m *monitor) Ready(ctx context.Context) rpc.Readiness {
	s := m.Status(ctx)
	r := ready(s, m.lagging.of(s.Lag.Blocks > 0, s.Heads.Applied+1, time.Now()))
	r.Problems = s.Problems
	return r
}

// Live implements rpc.Node. Workers that end stop the whole node, so what is
// left to find is one that is stuck, blocks that are held and not applied without a
// decision to wait, and a database that takes no more writes.
func (m *monitor) Live(context.Context) error {
	if err := m.in.Disk.Failed(); err != nil {
		return err
	}
	now, limit := time.Now(), m.in.Setup.Config.Health.StuckAfter
	if m.in.Pipeline.Replay() != nil {
		return serviced(m.loops(now, limit)[:1]) // the others wait for it
	}
	if err := serviced(m.loops(now, limit)); err != nil {
		return err
	}
	stats := m.in.Syncer.Stats()
	return live(stats, m.wedged.of(stats.Next <= stats.Head && !slices.ContainsFunc(m.problems(), waitsOnPurpose), stats.Next, now), limit)
}

// loops returns what has to be serviced, the innermost first: who waits for it is
// stuck as well.
func (m *monitor) loops(now time.Time, limit time.Duration) []loop {
	out := []loop{
		{"pipeline", fmt.Sprintf("the pipeline, after block %d,", m.in.Pipeline.Snapshot().Applied()), m.in.Pipeline.Beat().For(now), limit},
		{"syncer", "the syncer", m.in.Syncer.Beat().For(now), limit},
		{"daworker", "the DA worker", m.in.Worker.Beat().For(now), limit + m.in.Setup.Config.DA.RequestTimeout},
	}
	if p := m.in.Extras.Producer; p != nil {
		out = append(out, loop{"producer", "block production", p.Beat().For(now), limit})
	}
	return out
}

// shortRoot is the state root in hex; executors may have roots of any length.
func shortRoot(root []byte) string {
	const most = 64
	if len(root) > most {
		sum := block.Sum(root)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	return hex.EncodeToString(root)
}

// rate turns a growing count into one per second, over the last few seconds.
type rate struct {
	mu    sync.Mutex
	at    time.Time
	count uint64
	last  float64
}

func (r *rate) of(count uint64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if passed := now.Sub(r.at); r.at.IsZero() || passed >= time.Second {
		if !r.at.IsZero() && count >= r.count {
			r.last = float64(count-r.count) / passed.Seconds()
		}
		r.at, r.count = now, count
	}
	return r.last
}

// serverParams gives the API what it shows.
func serverParams(in monitorIn, m *monitor) rpc.Params {
	header, data := in.Setup.namespaces()
	p := rpc.Params{
		Config: in.Setup.Config.RPC, Clients: in.Clients, Genesis: in.Setup.Genesis, HeaderNamespace: header.String(), DataNamespace: data.String(),
		Chain: in.Store, Headers: in.Headers, Data: in.Data, Network: m, Node: m, Peers: peers{in.Network, in.Setup.Config.P2P.BanTime}, Metrics: metricsOf(m),
		App: appHandler(in.Extras.Executor), Produces: in.Setup.Role.Produces(), Log: in.Setup.Log.Named("rpc"),
	}
	if in.Setup.Levels != nil {
		p.LogLevels = in.Setup.Levels
	}
	if !in.Setup.Role.Executes() {
		p.Data = nil
	}
	return p
}

func appHandler(e execution.Executor) http.Handler {
	if p, ok := e.(execution.HTTPProvider); ok {
		return p.Handler()
	}
	return nil
}
