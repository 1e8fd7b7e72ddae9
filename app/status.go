package app

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/syncer"
)

const (
	// readyLag is how many blocks behind the best known head a node still
	// counts as ready.
	readyLag = 15
	// wedgedAfter is how long a node may have work and do none of it.
	wedgedAfter = 2 * time.Minute
)

// monitor gathers what the parts know of themselves for people and probes.
type monitor struct {
	in   monitorIn
	rate rate
}

type monitorIn struct {
	fx.In

	Setup    Setup
	Store    *chainstore.Store
	Headers  Headers
	Data     Data
	Pipeline *pipeline.Pipeline
	Syncer   *syncer.Syncer
	Network  *p2p.Node
	Worker   *daworker.Worker
	HeaderEx *exchange.Exchange[*block.SignedHeader]
	Extras   extras
}

// extras are the parts that only some roles have; the others leave them nil.
type extras struct {
	Producer  *sequencer.Producer
	Submitter *sequencer.Submitter
	Executor  execution.Executor
}

func newMonitor(in monitorIn) *monitor { return &monitor{in: in} }

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
		},
		Applied: rpc.Applied{
			StateRoot: shortRoot(snap.State.AppHash), BlockTime: snap.State.LastTime, At: snap.AppliedAt,
		},
		P2P: m.p2pStatus(),
		DA:  m.daStatus(),
	}
	if snap.Applied() > 0 {
		s.Applied.Hash = snap.AppliedHash.String()
	}
	if snap.Final > 0 {
		s.Final = rpc.Final{HeaderDA: m.in.Store.HeaderHint(snap.Final), DataDA: m.in.Store.DataHint(snap.Final)}
	}
	best := max(s.Heads.Header, s.P2P.Target)
	s.Lag = rpc.Lag{Blocks: best - min(best, s.Heads.Applied), Final: s.Heads.Applied - min(s.Heads.Applied, s.Heads.Final), Rate: m.rate.of(snap.Blocks)}
	s.Sequencer = m.sequencerStatus()
	s.WaitingFor = m.waitingFor(s)
	return s
}

func (m *monitor) p2pStatus() rpc.P2P {
	ex := m.in.HeaderEx.Status()
	return rpc.P2P{
		Enabled: !m.in.Setup.Config.P2P.Disabled, Peers: len(m.in.Network.Peers()), Target: ex.Target,
		Error: ex.LastErr, Listen: m.ListenAddresses(),
	}
}

func (m *monitor) daStatus() rpc.DA {
	w := m.in.Worker.Status()
	return rpc.DA{
		Enabled: m.in.Setup.Config.DA.Address != "", Head: w.Head.Height, Cursor: w.Cursor, LastOK: w.LastOK, Error: w.LastErr,
	}
}

func (m *monitor) sequencerStatus() *rpc.Sequencer {
	if m.in.Extras.Producer == nil || m.in.Extras.Submitter == nil {
		return nil
	}
	p, sub := m.in.Extras.Producer.Stats(), m.in.Extras.Submitter.Stats()
	s := &rpc.Sequencer{
		Produced: p.Produced, Paused: p.Paused, Error: p.LastError,
		PendingHeaders: sub.Header.Lag, PendingData: sub.Data.Lag,
		SubmittedHeader: sub.Header.Submitted, SubmittedData: sub.Data.Submitted,
	}
	for _, text := range []string{sub.Header.LastError, sub.Data.LastError} {
		if s.Error == "" {
			s.Error = text
		}
	}
	return s
}

// waitingFor names the one reason for no progress, the most certain first.
func (m *monitor) waitingFor(s rpc.Status) string {
	if m.in.Extras.Producer != nil {
		return m.in.Extras.Producer.Stats().WaitingFor
	}
	if reason := m.in.Worker.Status().WaitingFor; reason != "" && s.Heads.Header > s.Heads.Data {
		return reason
	}
	if s.Lag.Blocks == 0 {
		return ""
	}
	return m.in.Syncer.Stats().WaitingFor
}

// Ready implements rpc.Node: the node follows at least one source and is near
// its head. A chain that makes no blocks stays ready.
func (m *monitor) Ready(ctx context.Context) rpc.Readiness {
	s := m.Status(ctx)
	switch {
	case s.Heads.Applied == 0:
		return notReady("no block applied yet%s", because(s.WaitingFor))
	case s.Lag.Blocks > readyLag:
		return notReady("catching up: block %d of %d%s", s.Heads.Applied, s.Heads.Applied+s.Lag.Blocks, because(s.WaitingFor))
	case s.Sequencer != nil && s.Sequencer.Paused:
		return notReady("production is paused: %d headers and %d data items wait for DA", s.Sequencer.PendingHeaders, s.Sequencer.PendingData)
	case s.Sequencer != nil:
		return rpc.Readiness{Ready: true}
	case s.P2P.Peers == 0 && (s.DA.LastOK.IsZero() || s.DA.Error != ""):
		return notReady("no source: no peers, and DA %s", daReason(s.DA))
	}
	return rpc.Readiness{Ready: true}
}

func daReason(d rpc.DA) string {
	switch {
	case !d.Enabled:
		return "is not configured"
	case d.Error != "":
		return "fails: " + d.Error
	default:
		return "has not answered yet"
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", waiting for " + reason
}

func notReady(format string, args ...any) rpc.Readiness {
	return rpc.Readiness{Reason: fmt.Sprintf(format, args...)}
}

// Live implements rpc.Node. Workers that end stop the whole node, so what is
// left to find is one that holds blocks and does not apply them.
func (m *monitor) Live(context.Context) error {
	stats, snap := m.in.Syncer.Stats(), m.in.Pipeline.Snapshot()
	if stats.Next <= stats.Head && !snap.AppliedAt.IsZero() && time.Since(snap.AppliedAt) > wedgedAfter {
		return fmt.Errorf("block %d is stored but was not applied for %s: %s", stats.Next, time.Since(snap.AppliedAt).Round(time.Second), stats.Failure)
	}
	return nil
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
		Config: in.Setup.Config.RPC, Genesis: in.Setup.Genesis, HeaderNamespace: header.String(), DataNamespace: data.String(),
		Chain: in.Store, Headers: in.Headers, Data: in.Data, Network: m, Node: m, Metrics: in.Setup.Metrics.Registry,
		App: appHandler(in.Extras.Executor), Log: in.Setup.Log.Named("rpc"),
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
