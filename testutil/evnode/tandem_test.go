package evnode

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/testutil"
)

// pace is the time between DA blocks and between polls of the DA layer.
const pace = 50 * time.Millisecond

// tandem is a whole Tandem node over real sockets.
type tandem struct {
	t    *testing.T
	name string
	fx   *fx.App

	pipeline *pipeline.Pipeline
	store    *chainstore.Store
	network  *p2p.Node
	server   *rpc.Server
	params   rpc.Params
	headerEx *exchange.Exchange[*block.SignedHeader]
	dataEx   *exchange.Exchange[*block.Data]
}

// spec is what a node is made from.
type spec struct {
	name    string
	role    app.Role
	genesis block.Genesis
	peers   []string // none: P2P is off unless it is a sequencer
	da      string   // empty: no DA layer
	signer  *signer.Local
	change  func(*app.Config)
	txs     []string // in the mempool before the first block
	allow   []string // messages that may be logged at WARN and above
}

func (s spec) config() app.Config {
	c := app.Default()
	c.Role = s.role.Name()
	c.RPC.Address = "127.0.0.1:0"
	c.P2P.ListenAddresses = []string{"/ip4/127.0.0.1/tcp/0"}
	c.P2P.Peers, c.P2P.DHT = s.peers, false
	c.P2P.Disabled = len(s.peers) == 0 && !s.role.Produces()
	if s.da != "" {
		c.DA.Addresses = []string{s.da}
	}
	c.DAWorker.PollInterval = pace
	c.Execution.Name = execution.NameEvolveKV
	c.Sequencer.BlockTime = pace / 2
	c.Sequencer.Submit.DABlockTime = pace
	if s.change != nil {
		s.change(&c)
	}
	return c
}

// start starts a node in a home of its own; it stops with the test.
func start(t *testing.T, s spec) *tandem {
	t.Helper()
	c := s.config()
	require.Empty(t, c.Problems())
	key, err := app.NodeKeyOf(testutil.Key("node " + s.name))
	require.NoError(t, err)
	tracing, err := telemetry.NewTracing(t.Context(), c.Tracing, zap.NewNop())
	require.NoError(t, err)
	metrics, err := telemetry.NewMetrics()
	require.NoError(t, err)
	home := t.TempDir()
	var guarded app.Signer
	if s.signer != nil {
		guarded = signer.NewGuarded(s.signer, filepath.Join(home, "signer.state"), s.genesis.ChainID)
	}
	return run(t, s, app.Setup{
		Role: s.role, Home: home, Version: "test", Config: c, Genesis: s.genesis, NodeKey: key, Signer: guarded,
		Tracing: tracing, Metrics: metrics,
	})
}

// run starts a node from a setup, with a log that detects what is unexpected.
func run(t *testing.T, s spec, setup app.Setup) *tandem {
	t.Helper()
	setup.Log = testutil.Log(t, testutil.AllowLog(s.allow...)).Named(s.name)
	n := &tandem{t: t, name: s.name}
	n.fx = fx.New(app.Node(setup,
		fx.Populate(&n.pipeline, &n.store, &n.network, &n.server, &n.params, &n.headerEx, &n.dataEx),
		fx.Invoke(func(e execution.Executor) error {
			pool, ok := e.(execution.Submitter)
			for _, tx := range s.txs {
				if err := pool.Submit(t.Context(), []byte(tx)); !ok || err != nil {
					return fmt.Errorf("transaction %q: %w", tx, err)
				}
			}
			return nil
		})))
	require.NoError(t, n.fx.Err())
	require.NoError(t, n.fx.Start(t.Context()))
	t.Cleanup(n.stop)
	return n
}

func (n *tandem) stop() {
	if n.fx == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.t.Context()), soon)
	defer cancel()
	if err := n.fx.Stop(ctx); err != nil {
		n.t.Errorf("stop of %s: %v", n.name, err)
	}
	n.fx = nil
}

// address is where peers find the node.
func (n *tandem) address() string {
	n.t.Helper()
	addrs := n.network.Addresses()
	require.NotEmpty(n.t, addrs)
	return addrs[0].String()
}

// applied waits until the node has applied a height.
func (n *tandem) applied(height uint64) {
	n.t.Helper()
	n.await("applied", height, func() uint64 { return n.pipeline.Snapshot().Applied() })
}

// final waits until a height is final on the node.
func (n *tandem) final(height uint64) {
	n.t.Helper()
	n.await("final", height, func() uint64 { return n.pipeline.Snapshot().Final })
}

func (n *tandem) await(what string, height uint64, have func() uint64) {
	n.t.Helper()
	testutil.AwaitElse(n.t, soon, n.pipeline.Changed, func() bool { return have() >= height }, func() string {
		s := n.params.Node.Status(context.WithoutCancel(n.t.Context()))
		return fmt.Sprintf("%s: wanted %s %d; heads %+v, p2p %+v, da %+v, waiting for %q", n.name, what, height, s.Heads, s.P2P, s.DA, s.WaitingFor)
	})
}

// root returns the state root after a height.
func (n *tandem) root(height uint64) string {
	n.t.Helper()
	st, err := n.store.StateAt(n.t.Context(), height)
	require.NoError(n.t, err)
	return string(st.AppHash)
}

// hashes returns the header and the data hash of a height.
func (n *tandem) hashes(height uint64) (header, data []byte) {
	n.t.Helper()
	h, err := n.store.Headers().GetByHeight(n.t.Context(), height)
	require.NoError(n.t, err)
	d, err := n.store.Data().GetByHeight(n.t.Context(), height)
	require.NoError(n.t, err)
	return h.Hash(), d.Hash()
}

// same checks that the node holds exactly these blocks and these roots.
func (n *tandem) same(blocks []evBlock, roots map[uint64][]byte) {
	n.t.Helper()
	for _, b := range blocks {
		height := b.header.Height()
		h, d := n.hashes(height)
		require.Equal(n.t, []byte(b.header.Hash()), h, "%s: header %d", n.name, height)
		require.Equal(n.t, []byte(b.data.Hash()), d, "%s: data %d", n.name, height)
		require.Equal(n.t, string(roots[height]), n.root(height), "%s: root %d", n.name, height)
	}
}

// unblamed checks that nobody was found to lie.
func (n *tandem) unblamed() {
	n.t.Helper()
	require.Zero(n.t, n.headerEx.Stats().Lies+n.dataEx.Stats().Lies, "%s: %+v %+v", n.name, n.headerEx.Stats(), n.dataEx.Stats())
}

// post sends a transaction to the node's endpoint, as a user of ev-node would.
func (n *tandem) post(tx string) {
	n.t.Helper()
	code, body := n.do(http.MethodPost, "/tx", tx)
	require.Equal(n.t, http.StatusAccepted, code, body)
	require.Equal(n.t, "Transaction accepted", body)
}

func (n *tandem) do(method, path, body string) (int, string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, "http://"+n.server.Address()+path, bytes.NewReader([]byte(body)))
	require.NoError(n.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(n.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(n.t, err)
	return resp.StatusCode, string(raw)
}
