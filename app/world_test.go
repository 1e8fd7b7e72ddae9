package app_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/testutil"
)

const (
	// soon is longer than anything here takes, on a busy machine too.
	soon = 2 * time.Minute
	// stopWithin is what a stop may take at most (invariant 10).
	stopWithin = 2 * time.Second

	blockTime = 100 * time.Millisecond
	daTime    = 200 * time.Millisecond
)

// newDA runs a DA node on loopback until the end of the test.
func newDA(t *testing.T) *da.Server {
	t.Helper()
	c := da.DefaultServer()
	c.Listen, c.BlockTime = "127.0.0.1:0", daTime
	s, err := da.NewServer(c, zap.NewNop())
	require.NoError(t, err)
	require.NoError(t, s.Listen(t.Context()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s
}

// on points a node at a DA node and lets it hurry.
func on(s app.Setup, server *da.Server) app.Setup {
	s.Config.DA.Addresses = []string{server.URL()}
	s.Config.DAWorker.PollInterval = daTime
	s.Config.Sequencer.BlockTime = blockTime
	s.Config.Sequencer.Submit.DABlockTime = daTime
	return s
}

// running is a node that was started.
type running struct {
	t        *testing.T
	fx       *fx.App
	pipeline *pipeline.Pipeline
	server   *rpc.Server
	network  *p2p.Node
	stopped  bool
}

// begin starts a node and stops it at the end of the test. Options in beside are
// at the root, those in inner inside of the node.
func begin(t *testing.T, s app.Setup, beside []fx.Option, inner ...fx.Option) *running {
	t.Helper()
	n := &running{t: t}
	inner = append(inner, fx.Populate(&n.pipeline, &n.server, &n.network))
	n.fx = fx.New(append([]fx.Option{app.Node(s, inner...)}, beside...)...)
	require.NoError(t, n.fx.Start(t.Context()))
	t.Cleanup(n.stop)
	return n
}

func (n *running) stop() {
	n.t.Helper()
	if n.stopped {
		return
	}
	n.stopped = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.t.Context()), soon)
	defer cancel()
	began := time.Now()
	require.NoError(n.t, n.fx.Stop(ctx))
	testutil.Took(n.t, "stop", began, stopWithin)
}

func (n *running) awaitApplied(height uint64) {
	n.t.Helper()
	testutil.AwaitElse(n.t, soon, n.pipeline.Changed, func() bool { return n.pipeline.Snapshot().Applied() >= height },
		func() string { return "applied: " + strconv.FormatUint(n.pipeline.Snapshot().Applied(), 10) })
}

func (n *running) awaitFinal(height uint64) {
	n.t.Helper()
	testutil.AwaitElse(n.t, soon, n.pipeline.Changed, func() bool { return n.pipeline.Snapshot().Final >= height },
		func() string { return "final: " + strconv.FormatUint(n.pipeline.Snapshot().Final, 10) })
}

// get asks the node over HTTP.
func (n *running) get(path string) (int, []byte) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, "http://"+n.server.Address()+path, nil)
	require.NoError(n.t, err)
	req.Header.Set("Accept", "application/json")
	req.Close = true // no idle connection is left to wait for
	resp, err := http.DefaultClient.Do(req)
	require.NoError(n.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(n.t, err)
	return resp.StatusCode, body
}
