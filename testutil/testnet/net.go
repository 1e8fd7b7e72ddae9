package testnet

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
	_ "github.com/tandem-node/tandem/testutil/bubble" // every Net is in one
)

// Net is a chain, its DA layer and its nodes.
type Net struct {
	// Genesis of the chain; it starts when the Net is made.
	Genesis block.Genesis
	// DA is the layer all nodes share. Its switches (SetOutage, SetLatency, Fail)
	// hold for all nodes; Node.CutDA is for one.
	DA *da.Server
	// Logs holds the log of all nodes; Allow what a test provokes.
	Logs *testutil.Logs

	t      testing.TB
	dir    string
	cfg    settings
	wires  *wires
	nodes  []*Node
	signed *signatures
	skipDA bool
	other  atomic.Pointer[da.Server] // answers where a DA node was wiped
	// wipedAt is when it began.
	wipedAt time.Time
	// strangers is how many hosts there are that are no nodes.
	strangers int
}

// settings of a Net.
type settings struct {
	blockTime, daTime, latency time.Duration
	lazy                       time.Duration
	epoch                      uint64
	change                     []func(*app.Config)
}

// Option changes a Net.
type Option func(*settings)

// BlockTime sets the time between blocks; it is one second otherwise.
func BlockTime(d time.Duration) Option { return func(s *settings) { s.blockTime = d } }

// DATime sets the time between DA blocks; it is two seconds otherwise.
func DATime(d time.Duration) Option { return func(s *settings) { s.daTime = d } }

// Latency sets the time a packet takes from node to node; 5 ms otherwise.
func Latency(d time.Duration) Option { return func(s *settings) { s.latency = d } }

// Lazy makes the sequencer produce when transactions wait, and every interval.
func Lazy(interval time.Duration) Option { return func(s *settings) { s.lazy = interval } }

// Config changes the config of every node.
func Config(change func(*app.Config)) Option {
	return func(s *settings) { s.change = append(s.change, change) }
}

// daAddress is in the config of nodes that have a DA layer. Nobody dials it: the
// client is replaced.
const daAddress = "http://in-process"

// New makes a network without nodes. It has to be called in a synctest bubble,
// before anything else, with the bubble's t.
func New(tb testing.TB, opts ...Option) *Net {
	tb.Helper()
	testutil.LeaksInBubble(tb)
	n := &Net{
		t: tb, dir: tb.TempDir(), cfg: settings{blockTime: time.Second, daTime: 2 * time.Second, latency: 5 * time.Millisecond},
		Logs: testutil.NewLogs(tb), signed: newSignatures(tb),
	}
	for _, o := range opts {
		o(&n.cfg)
	}
	n.Genesis = testutil.NewChain("testnet").Genesis
	n.Genesis.StartTime = time.Now().UTC()
	if n.cfg.epoch > 0 {
		n.Genesis.DAEpochForcedInclusion = n.cfg.epoch
	}
	n.wires = newWires(n.cfg.latency)
	tb.Cleanup(n.wires.net.Close)
	n.DA = n.startDA()
	tb.Cleanup(n.finish)
	return n
}

// wipeDA starts the DA layer that answers from now on where a DA node was wiped. It
// begins later than the first one: two layers of one chain ID that begin in the same
// instant have the same identity.
func (n *Net) wipeDA() {
	if n.wipedAt.Equal(time.Now()) {
		return
	}
	time.Sleep(time.Nanosecond)
	n.wipedAt = time.Now()
	n.other.Store(n.startDA())
}

func (n *Net) startDA() *da.Server {
	c := da.DefaultServer()
	c.Listen, c.BlockTime = "", n.cfg.daTime
	server, err := da.NewServer(c, n.Logs.Logger().Named("da"))
	require.NoError(n.t, err)
	require.NoError(n.t, server.Listen(context.Background()))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	n.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			n.t.Errorf("DA: %v", err)
		}
	})
	return server
}

// AllowDoubleSigning is for tests with more than one sequencer: all of them sign
// with the proposer's key.
func (n *Net) AllowDoubleSigning() { n.signed.free = true }

// Config returns the config that nodes have by the options of the Net.
func (n *Net) Config() app.Config { return n.config(app.RoleFull) }

// config is the config of a node, before the node's own options.
func (n *Net) config(role app.Role) app.Config {
	c := app.Default()
	c.Role = role.Name()
	c.RPC.Address = "" // sockets are outside of the bubble
	c.P2P.DHT = false
	c.DA.Addresses = []string{daAddress}
	c.DAWorker.PollInterval = n.cfg.daTime
	c.Sequencer.BlockTime = n.cfg.blockTime
	c.Sequencer.Submit.DABlockTime = n.cfg.daTime
	if n.cfg.lazy > 0 {
		c.Sequencer.Lazy, c.Sequencer.LazyInterval = true, n.cfg.lazy
	}
	for _, change := range n.cfg.change {
		change(&c)
	}
	return c
}

// DATime returns the time between DA blocks.
func (n *Net) DATime() time.Duration { return n.cfg.daTime }

// Nodes returns all nodes in the order in which they were made.
func (n *Net) Nodes() []*Node { return slices.Clone(n.nodes) }

// Cut severs the link between two nodes; Heal restores it. Connections notice by
// their own timeouts only.
func (n *Net) Cut(a, b *Node) { n.wires.setCut(a.ip, b.ip, true) }

// Heal restores all links between nodes.
func (n *Net) Heal() { n.wires.heal() }

// WaitApplied waits until all running nodes have applied a height.
func (n *Net) WaitApplied(height uint64, within time.Duration) {
	n.t.Helper()
	n.each(within, func(x *Node, left time.Duration) { x.WaitApplied(height, left) })
}

// WaitFinal waits until a height is final on all running nodes that read DA.
func (n *Net) WaitFinal(height uint64, within time.Duration) {
	n.t.Helper()
	n.each(within, func(x *Node, left time.Duration) {
		if x.spec.da {
			x.WaitFinal(height, left)
		}
	})
}

func (n *Net) each(within time.Duration, wait func(*Node, time.Duration)) {
	n.t.Helper()
	end := time.Now().Add(within)
	for _, x := range n.nodes {
		if x.Running() {
			wait(x, time.Until(end))
		}
	}
}

// finish checks the invariants and stops everything, the last made first.
func (n *Net) finish() {
	n.Check()
	for _, x := range slices.Backward(n.nodes) {
		x.Stop()
	}
}
