package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
)

// DevnetParams says what devnet to run.
type DevnetParams struct {
	Dir       string // kept between runs
	Fresh     bool   // start over
	Version   string
	BlockTime time.Duration
	DATime    time.Duration
	LogTo     io.Writer
	LogLevel  string
	// FixedPorts takes the usual ports as far as they are free, instead of any.
	FixedPorts bool
	// Tracing is host:port of an OTLP collector (gRPC); empty traces nothing unless
	// the config file of a node says so.
	Tracing string
}

// Devnet is a whole chain in one process: a DA node, a sequencer and two
// followers, on loopback ports.
type Devnet struct {
	p        DevnetParams
	da       *da.Server
	stop     context.CancelFunc // of DA; nil when it does not run
	daDone   chan struct{}      // closed when DA has stopped
	daErr    error              // why, to be read then
	stopping chan struct{}
	watchers sync.WaitGroup
	Nodes    []*DevNode
}

// DevNode is one node of a devnet.
type DevNode struct {
	Name     string
	About    string
	Setup    Setup
	Server   *rpc.Server
	Status   func(context.Context) rpc.Status
	Store    *chainstore.Store
	Pipeline *pipeline.Pipeline

	app     *fx.App
	network *p2p.Node
}

// devnetPassphrase protects a key that is worth nothing.
const devnetPassphrase = "devnet"

const devnetChain = "devnet"

// The usual ports of the first node; those of the others follow.
const (
	usualAPI = 7331
	usualP2P = 7676
)

// StartDevnet starts everything. What was started is stopped when a part fails.
func StartDevnet(ctx context.Context, p DevnetParams) (*Devnet, error) {
	if p.Fresh {
		if err := os.RemoveAll(p.Dir); err != nil {
			return nil, fmt.Errorf("start over: %w", err)
		}
	}
	d := &Devnet{p: p, daDone: make(chan struct{}), stopping: make(chan struct{})}
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(err, d.Stop(context.WithoutCancel(ctx)))
	}
	return d, nil
}

func (d *Devnet) start(ctx context.Context) error {
	if err := d.startDA(ctx); err != nil {
		return err
	}
	g, err := d.initSequencer()
	if err != nil {
		return err
	}
	sequencer, err := d.startNode(ctx, devSpec{name: "sequencer", about: "makes the blocks", role: RoleSequencer})
	if err != nil {
		return err
	}
	peers := texts(sequencer.network)
	for _, spec := range []devSpec{
		{name: "follower", about: "follows P2P and DA", role: RoleFull, genesis: &g, change: func(c *Config) { c.P2P.Peers = peers }},
		{name: "da-follower", about: "follows DA alone", role: RoleFull, genesis: &g, change: func(c *Config) { c.P2P.Disabled = true }},
	} {
		if _, err := d.startNode(ctx, spec); err != nil {
			return err
		}
	}
	return nil
}

func texts(n *p2p.Node) []string {
	var out []string
	for _, a := range n.Addresses() {
		out = append(out, a.String())
	}
	return out
}

func (d *Devnet) startDA(ctx context.Context) error {
	c := da.DefaultServer()
	const usual = 26658
	c.Listen, c.Dir, c.BlockTime = "127.0.0.1:"+d.port(ctx, usual), filepath.Join(d.p.Dir, "da"), d.p.DATime
	var err error
	if d.da, err = da.NewServer(c, zap.NewNop()); err != nil {
		return fmt.Errorf("local DA: %w", err)
	}
	if err := d.da.Listen(ctx); err != nil {
		return fmt.Errorf("local DA: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	go func() {
		defer close(d.daDone)
		d.daErr = d.da.Run(run)
	}()
	return nil
}

// port returns a port to listen on: the usual one if it is wanted and free, else 0.
func (d *Devnet) port(ctx context.Context, usual int) string {
	const anyPort = "0"
	if !d.p.FixedPorts {
		return anyPort
	}
	port := strconv.Itoa(usual)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+port)
	if err != nil {
		return anyPort
	}
	_ = l.Close()
	return port
}

// initSequencer makes the chain at the first run and reads it at later ones.
func (d *Devnet) initSequencer() (block.Genesis, error) {
	home := filepath.Join(d.p.Dir, "sequencer")
	g, err := Init(InitParams{
		Home: home, Role: RoleSequencer, ChainID: devnetChain, StartTime: time.Now(),
		Passphrase: []byte(devnetPassphrase), DAStartHeight: 1, Overrides: d.overrides(home),
	})
	if errors.Is(err, ErrHomeExists) {
		return block.LoadGenesis(filepath.Join(home, Default().GenesisFile))
	}
	if err != nil {
		return block.Genesis{}, err
	}
	return g, os.WriteFile(filepath.Join(home, "config", "passphrase"), []byte(devnetPassphrase), 0o600)
}

// overrides are written into the config files, so that a node of the devnet can
// be looked at, or started alone, with the usual commands.
func (d *Devnet) overrides(home string) map[string]any {
	return map[string]any{ //nolint:gosec // paths, no secrets
		"da.address": d.da.URL(), "signer.passphrase_file": "config/passphrase",
		"da_worker.poll_interval": d.p.DATime, "sequencer.block_time": d.p.BlockTime,
		"sequencer.submit.da_block_time": d.p.DATime,
		"p2p.dht":                        false, "tracing.instance_id": filepath.Base(home),
	}
}

// devSpec describes a node of the devnet.
type devSpec struct {
	name, about string
	role        Role
	genesis     *block.Genesis
	change      func(*Config)
}

func (d *Devnet) startNode(ctx context.Context, spec devSpec) (*DevNode, error) {
	home := filepath.Join(d.p.Dir, spec.name)
	if spec.genesis != nil {
		_, err := Init(InitParams{Home: home, Role: spec.role, Genesis: spec.genesis, Overrides: d.overrides(home)})
		if err != nil && !errors.Is(err, ErrHomeExists) {
			return nil, err
		}
	}
	// Whatever was written into the file at the first run, ports and addresses
	// are of this run.
	env := []string{
		EnvName("da.address") + "=" + d.da.URL(), EnvName("rpc.address") + "=127.0.0.1:" + d.port(ctx, usualAPI+len(d.Nodes)),
		EnvName("p2p.listen_addresses") + "=/ip4/127.0.0.1/tcp/" + d.port(ctx, usualP2P+len(d.Nodes)), EnvName("log.level") + "=" + d.p.LogLevel,
		EnvName("sequencer.block_time") + "=" + d.p.BlockTime.String(),
	}
	if d.p.Tracing != "" {
		env = append(env, EnvName("tracing.endpoint")+"="+d.p.Tracing)
	}
	loaded, err := Load(Sources{Home: home, Env: env})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.name, err)
	}
	if spec.change != nil {
		spec.change(&loaded.Config)
	}
	setup, err := Prepare(ctx, PrepareParams{Home: home, Version: d.p.Version, Config: loaded.Config, LogTo: d.p.LogTo})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.name, err)
	}
	setup.Log = setup.Log.Named(spec.name)
	n := &DevNode{Name: spec.name, About: spec.about, Setup: setup}
	n.app = fx.New(Node(setup, fx.Populate(&n.Server, &n.network, &n.Store, &n.Pipeline),
		fx.Invoke(func(m *monitor) { n.Status = m.Status })))
	if err := n.app.Start(ctx); err != nil {
		setup.EndTracing(ctx)
		return nil, fmt.Errorf("%s: %w", spec.name, err)
	}
	d.Nodes = append(d.Nodes, n)
	return n, nil
}

// DAURL returns the address of the DA node.
func (d *Devnet) DAURL() string { return d.da.URL() }

// Sequencer returns the node that makes the blocks.
func (d *Devnet) Sequencer() *DevNode { return d.Nodes[0] }

// Failed returns a channel that delivers when a part stopped by itself. It is to
// be asked for before Stop.
func (d *Devnet) Failed() <-chan error {
	out := make(chan error, len(d.Nodes)+1)
	watch := func(failed func() error) {
		d.watchers.Go(func() {
			if err := failed(); err != nil {
				out <- err
			}
		})
	}
	watch(func() error {
		select {
		case <-d.daDone:
			return fmt.Errorf("local DA stopped by itself: %w", d.daErr)
		case <-d.stopping:
			return nil
		}
	})
	for _, n := range d.Nodes {
		wait := n.app.Wait()
		watch(func() error {
			select {
			case s := <-wait:
				if s.ExitCode != 0 {
					return fmt.Errorf("%s stopped by itself, see its log", n.Name)
				}
			case <-d.stopping:
			}
			return nil
		})
	}
	return out
}

// Stop stops the nodes, all at once, then DA. It may be called once.
func (d *Devnet) Stop(ctx context.Context) error {
	close(d.stopping)
	d.watchers.Wait()
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	errs := make([]error, len(d.Nodes)+1)
	var stops sync.WaitGroup
	for i, n := range d.Nodes {
		stops.Go(func() {
			if err := n.app.Stop(ctx); err != nil {
				errs[i] = fmt.Errorf("stop %s: %w", n.Name, err)
			}
			n.Setup.EndTracing(ctx)
		})
	}
	stops.Wait()
	if d.stop != nil {
		d.stop()
		<-d.daDone
		errs[len(d.Nodes)] = d.daErr
	}
	return errors.Join(errs...)
}
