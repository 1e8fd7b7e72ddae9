package testnet

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/marcopolo/simnet"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/execution/executiontest"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/powerdisk"
)

// Node is one node of a Net: its home and, while it runs, its parts.
type Node struct {
	Parts

	net     *Net
	spec    spec
	ip      string
	home    string
	homes   int
	copies  int
	boots   int // of the machine, when its power is cut
	da      *daLink
	clock   clock
	app     *fx.App
	port    *port
	signer  *recordedSigner
	trip    *tripwire
	tracing *telemetry.Tracing
}

// spec is what a node is made from, at every start.
type spec struct {
	name    string
	role    app.Role
	da, p2p bool
	peers   []string
	change  []func(*app.Config)
	outer   []fx.Option
	inner   []fx.Option
	idle    bool
	// tripwire puts a tripwire into the stores.
	tripwire bool
	key      string
	disk     *powerdisk.Disk // of the databases; nil is the machine's
}

// NodeOption changes a node.
type NodeOption func(*spec)

// Name names the node in logs and failures.
func Name(name string) NodeOption { return func(s *spec) { s.name = name } }

// NoDA makes a node that follows P2P alone.
func NoDA() NodeOption { return func(s *spec) { s.da = false } }

// NoP2P makes a node that follows DA alone.
func NoP2P() NodeOption { return func(s *spec) { s.p2p = false } }

// Peers sets the static peers. Without it they are all nodes made before.
func Peers(nodes ...*Node) NodeOption {
	return func(s *spec) {
		s.peers = []string{}
		for _, x := range nodes {
			s.peers = append(s.peers, x.Address())
		}
	}
}

// DeadPeer makes the only static peer one that does not exist.
func DeadPeer() NodeOption {
	return func(s *spec) {
		const nowhere = 99_999
		s.peers = []string{address(simnet.IntToPublicIPv4(nowhere).String(), "nobody")}
	}
}

// Unchecked makes a sequencer begin the chain without asking anybody for it.
func Unchecked() NodeOption { return Change(func(c *app.Config) { c.Sequencer.BeginUnchecked = true }) }

// Change changes the config of one node.
func Change(change func(*app.Config)) NodeOption {
	return func(s *spec) { s.change = append(s.change, change) }
}

// With adds fx options beside the node, which is where replacements go.
func With(opts ...fx.Option) NodeOption { return func(s *spec) { s.outer = append(s.outer, opts...) } }

// Inside adds fx options in the node, where they see the decorated stores.
func Inside(opts ...fx.Option) NodeOption {
	return func(s *spec) { s.inner = append(s.inner, opts...) }
}

// Key makes a sequencer sign with another key than the genesis proposer's, which
// is the one named "proposer".
func Key(name string) NodeOption { return func(s *spec) { s.key = name } }

// ProposerAddress returns the address of the key of a name.
func ProposerAddress(name string) []byte {
	return block.NewSigner(testutil.Key(name).Public().(ed25519.PublicKey)).Address //nolint:forcetypeassert // it is one
}

// Rotating makes transactions able to name the next proposer: see
// executiontest.RotateTx.
func Rotating() NodeOption {
	return With(fx.Decorate(func(e execution.Executor) execution.Executor {
		return executiontest.Rotating{Complete: e.(complete)} //nolint:forcetypeassert // for the built-in executors
	}))
}

// Stopped makes a node without starting it.
func Stopped() NodeOption { return func(s *spec) { s.idle = true } }

// Sequencer adds and starts the node that makes the blocks.
func (n *Net) Sequencer(opts ...NodeOption) *Node { return n.add(app.RoleSequencer, opts) }

// Full adds and starts a follower that executes.
func (n *Net) Full(opts ...NodeOption) *Node { return n.add(app.RoleFull, opts) }

// Light adds and starts a follower of headers.
func (n *Net) Light(opts ...NodeOption) *Node { return n.add(app.RoleLight, opts) }

func (n *Net) add(role app.Role, opts []NodeOption) *Node {
	n.t.Helper()
	s := spec{name: fmt.Sprintf("%s-%d", role.Name(), len(n.nodes)), role: role, da: true, p2p: true, key: "proposer"}
	for _, o := range opts {
		o(&s)
	}
	if s.peers == nil {
		for _, x := range n.nodes {
			if x.spec.p2p {
				s.peers = append(s.peers, x.Address())
			}
		}
	}
	x := &Node{net: n, spec: s, ip: simnet.IntToPublicIPv4(len(n.nodes)).String(), da: newDALink(func() da.Client { return n.other.Load().Client() })}
	x.home = filepath.Join(n.dir, s.name, "home")
	n.nodes = append(n.nodes, x)
	if !s.idle {
		x.Start()
	}
	return x
}

// Name returns the node's name.
func (x *Node) Name() string { return x.spec.name }

// Address returns the node's multiaddr, whether it runs or not.
func (x *Node) Address() string { return address(x.ip, x.spec.name) }

func listenAddress(ip string) string { return "/ip4/" + ip + "/udp/7676/quic-v1" }

func address(ip, name string) string {
	key, err := app.NodeKeyOf(testutil.Key("node " + name))
	if err != nil {
		return ""
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return ""
	}
	return listenAddress(ip) + "/p2p/" + id.String()
}

// Running reports whether the node was started and not stopped.
func (x *Node) Running() bool { return x.app != nil }

// Start starts the node on what its home holds, with further options for this
// run alone.
func (x *Node) Start(opts ...NodeOption) {
	t := x.net.t
	t.Helper()
	require.False(t, x.Running(), "%s runs already", x.Name())
	s := x.spec
	for _, o := range opts {
		o(&s)
	}
	x.port = &port{wires: x.net.wires}
	setup := x.setup(s)
	x.Parts = Parts{}
	x.trip = x.newTripwire()
	if s.tripwire {
		outer, inner := x.tripwires()
		s.outer, s.inner = append(s.outer, outer), append(s.inner, inner)
	}
	if s.disk != nil {
		s.outer = append(s.outer, onDisk(s.disk))
		s.disk.OnCut(x.trip.silence)
	}
	x.app = fx.New(
		app.Node(setup, append(x.inner(s), s.inner...)...),
		fx.Replace(x.port.options()),
		x.clock.option(),
		fx.Options(s.outer...),
	)
	require.NoError(t, x.app.Err(), x.Name())
	start := time.Now()
	err := x.app.Start(t.Context())
	if s.disk != nil && s.disk.Off() && err != nil {
		x.app = nil // fx has stopped what had started
		return
	}
	require.NoError(t, err, "start of %s", x.Name())
	require.Less(t, time.Since(start), time.Second, "%s waited for something at its start", x.Name())
}

// setup is the config and the keys of a run.
func (x *Node) setup(s spec) app.Setup {
	t := x.net.t
	c := x.net.config(s.role)
	c.P2P.ListenAddresses, c.P2P.Peers, c.P2P.Disabled = []string{listenAddress(x.ip)}, s.peers, !s.p2p
	if !s.da {
		c.DA.Addresses = nil
	}
	for _, change := range s.change {
		change(&c)
	}
	require.Empty(t, c.Problems(), "config of %s", x.Name())
	key, err := app.NodeKeyOf(testutil.Key("node " + x.spec.name))
	require.NoError(t, err)
	tracing, err := telemetry.NewTracing(t.Context(), c.Tracing, zap.NewNop())
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics()
	require.NoError(t, err)
	guarded := signer.NewGuarded(signer.NewLocal(testutil.Key(s.key)), c.In(x.home).Signer.StateFile, x.net.Genesis.ChainID)
	if s.disk != nil {
		guarded.Reboot(block.Sum(fmt.Appendf(nil, "boot %d", x.boots)))
	}
	x.signer = &recordedSigner{guardedSigner: guarded, all: x.net.signed}
	x.tracing = tracing
	return app.Setup{
		Role: s.role, Home: x.home, Version: "test", Config: c, Genesis: x.net.Genesis, NodeKey: key, Signer: x.signer,
		Log: mutable(x.net.Logs.Logger(), &x.port.dead).Named(x.spec.name), Tracing: tracing, Metrics: metrics,
	}
}

// inner reads the parts out of the node, puts the probe before its executor and
// the link before its DA client. Being inside, it sees what tests have replaced.
func (x *Node) inner(s spec) []fx.Option {
	out := x.populate(s.role)
	if s.da {
		out = append(out, fx.Decorate(func(p da.Params) da.Params {
			p.Dial = func(string) (da.BatchClient, error) {
				x.da.client = x.net.DA.Client()
				return x.da, nil
			}
			return p
		}), fx.Decorate(func(c da.Client) da.Client {
			if _, dials := c.(*da.Pool); dials {
				return c
			}
			x.da.client = c
			return x.da
		}))
	}
	if s.role.Executes() {
		out = append(out, fx.Decorate(func(e execution.Executor) execution.Executor {
			x.Executor = e
			if c, ok := e.(complete); ok {
				x.Probe = newProbe(x.net.t, x.Name(), c, x.trip.pass)
				x.Probe.dead = &x.port.dead
				return x.Probe
			}
			return e
		}))
	}
	return out
}

// stopWithin is the promise of invariant 10.
const stopWithin = 2 * time.Second

// Stop stops the node in good order and checks that it takes less than two
// seconds. It does nothing when the node does not run.
func (x *Node) Stop() {
	x.net.t.Helper()
	if !x.Running() {
		return
	}
	if x.spec.disk != nil {
		x.spec.disk.CutAfter(0)
	}
	start := time.Now()
	if err := x.stop(); err != nil {
		x.net.t.Errorf("stop of %s: %v", x.Name(), err)
	}
	if took := time.Since(start); took > stopWithin {
		x.net.t.Errorf("%s took %s to stop", x.Name(), took)
	}
}

func (x *Node) stop() error {
	a := x.app
	x.app = nil
	ctx, cancel := context.WithTimeout(context.Background(), 5*stopWithin)
	defer cancel()
	return a.Stop(ctx) //nolint:wrapcheck // the caller names the node
}

// Crash ends the node as kill -9 does: what the operating system was given by now
// is on disk, nothing else is, and peers hear nothing. Use Probe.HoldBefore and
// HoldAfter to crash in the middle of a block. Start starts it again.
func (x *Node) Crash() {
	t := x.net.t
	t.Helper()
	require.True(t, x.Running(), "%s does not run", x.Name())
	next, _ := x.trip.grave()
	if next == "" {
		synctest.Wait() // nobody writes while the files are copied
		x.trip.silence()
		next = x.trip.to
		require.NoError(t, copyHome(next, x.home))
	}
	// The process has to end, but nothing it still does counts: nobody hears it
	// and its home is left behind.
	if err := x.stop(); err != nil {
		t.Errorf("end of %s: %v", x.Name(), err)
	}
	x.home = next
	x.homes++
	x.da = x.da.again()
}

// Forget takes a stopped node's home away, as a lost disk does. Its keys stay.
func (x *Node) Forget() {
	x.net.t.Helper()
	require.False(x.net.t, x.Running(), "%s runs", x.Name())
	x.homes++
	x.home = fmt.Sprintf("%s-%d", filepath.Join(filepath.Dir(x.home), "home"), x.homes)
}

// Restart is Stop and Start.
func (x *Node) Restart() {
	x.net.t.Helper()
	x.Stop()
	x.Start()
}

// Isolate cuts all links to other nodes; Rejoin restores them.
func (x *Node) Isolate() { x.net.wires.setAlone(x.ip, true) }

// Rejoin undoes Isolate.
func (x *Node) Rejoin() { x.net.wires.setAlone(x.ip, false) }

// LieDA makes the node's DA node lie until it is told not to.
func (x *Node) LieDA(lie Lie) {
	if lie.Wiped {
		x.net.wipeDA()
	}
	x.da.setLie(lie)
}

// CutDA cuts the node's way to DA; RestoreDA restores it.
func (x *Node) CutDA() { x.da.cut() }

// RestoreDA undoes CutDA.
func (x *Node) RestoreDA() { x.da.restore() }
