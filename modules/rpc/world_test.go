package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/testutil"
)

// world is a server on a real port over a real store.
type world struct {
	t      *testing.T
	store  *chainstore.Store
	chain  *testutil.Chain
	blocks []block.Block
	node   *fakeNode
	server *rpc.Server
	load   func() rpc.Load
	http   *http.Client // speaks HTTP/1.1
	h2     *http.Client // speaks HTTP/2 without TLS, as gRPC clients do
	stop   func() error
}

const (
	headerNamespace = "0x00000000000000000000000000000000000000f409ad7d4368b1f126e4"
	dataNamespace   = "0x0000000000000000000000000000000000000073616d706c6564617461"
)

// newWorld serves an empty chain; change adjusts what the server is made of.
func newWorld(t *testing.T, change ...func(*rpc.Params)) *world {
	t.Helper()
	w := newStopped(t, change...)
	w.run()
	w.clients()
	return w
}

// newStopped is newWorld with a server that does not run yet.
func newStopped(t *testing.T, change ...func(*rpc.Params)) *world {
	t.Helper()
	testutil.Leaks(t)
	w := &world{t: t, chain: testutil.NewChain("c1"), node: newFakeNode()}
	w.chain.Root = func(height uint64) []byte { return fmt.Appendf(nil, "root-%d", height) }
	db := leveldb.NewMemory()
	require.NoError(t, db.Open())
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	w.store = chainstore.New(db, chainstore.Default(), zap.NewNop())
	require.NoError(t, w.store.Open(t.Context()))
	g := w.chain.Genesis
	require.NoError(t, w.store.SaveGenesis(t.Context(), g, block.GenesisState(g, w.chain.Root(0))))

	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tandem_things", Help: "Things."}, func() float64 { return 3 }))
	p := rpc.Params{
		Config: rpc.Default(), Genesis: g, HeaderNamespace: headerNamespace, DataNamespace: dataNamespace,
		Chain: w.store, Headers: w.store.Headers(), Data: w.store.Data(), Network: w.node, Node: w.node,
		Metrics: registry, Log: testutil.Log(t, testutil.AllowLog("request panicked"), testutil.AllowLog("transaction not forwarded")),
	}
	p.Config.Address = "127.0.0.1:0"
	for _, f := range change {
		f(&p)
	}
	p.Clients = rpc.NewClients(p.Config)
	w.load = p.Clients.Load
	w.server = rpc.New(p)
	return w
}

// run starts the server and stops it at the end of the test, or by stop.
func (w *world) run() {
	w.t.Helper()
	require.NoError(w.t, w.server.Start(w.t.Context()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- w.server.Run(ctx) }()
	var err error
	stopped := false
	w.stop = func() error {
		if !stopped {
			cancel()
			err, stopped = <-done, true
		}
		return err
	}
	w.t.Cleanup(func() { require.NoError(w.t, w.stop()) })
}

func (w *world) clients() {
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	one, two := &http.Transport{}, &http.Transport{Protocols: &h2}
	w.http, w.h2 = &http.Client{Transport: one}, &http.Client{Transport: two}
	w.t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
	})
}

func (w *world) url(path string) string { return "http://" + w.server.Address() + path }

// apply stores blocks and the states after them, as the pipeline does.
func (w *world) apply(blocks ...block.Block) {
	w.t.Helper()
	st, err := w.store.State(w.t.Context())
	require.NoError(w.t, err)
	b := block.Batch{Blocks: blocks}
	for _, made := range blocks {
		st = st.Next(made.Header, block.ExecResult{StateRoot: w.chain.Root(made.Height())})
		b.States = append(b.States, st)
	}
	require.NoError(w.t, w.store.Commit(w.t.Context(), b))
	w.blocks = append(w.blocks, blocks...)
}

// include marks blocks as seen on DA, headers at at and data one DA height
// later, and makes the last of them final.
func (w *world) include(at uint64, blocks ...block.Block) {
	w.t.Helper()
	b := block.Batch{}
	for _, made := range blocks {
		b.Inclusions = append(b.Inclusions, block.Inclusion{Height: made.Height(), Kind: block.KindHeader, Hash: made.Header.Digest(), DAHeight: at})
		if !made.Header.IsEmpty() {
			b.Inclusions = append(b.Inclusions, block.Inclusion{Height: made.Height(), Kind: block.KindData, Hash: made.Data.Commitment(), DAHeight: at + 1})
		}
		b.Final = made.Height()
	}
	require.NoError(w.t, w.store.Commit(w.t.Context(), b))
}

// call makes a Connect request with JSON, as curl would.
func (w *world) call(method, body string) (code int, answer map[string]any) {
	w.t.Helper()
	r := w.do(http.MethodPost, "/evnode.v1."+method, "application/json", strings.NewReader(body))
	require.Equal(w.t, "application/json", r.header.Get("Content-Type"), "%s", r.body)
	require.NoError(w.t, json.Unmarshal(r.body, &answer), "%s", r.body)
	return r.code, answer
}

// reply is an answer that was read to its end.
type reply struct {
	code    int
	header  http.Header
	trailer http.Header
	body    []byte
}

func (w *world) do(method, path, contentType string, body io.Reader) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url(path), body)
	require.NoError(w.t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return w.send(w.http, req)
}

func (w *world) send(client *http.Client, req *http.Request) reply {
	w.t.Helper()
	resp, err := client.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return reply{resp.StatusCode, resp.Header, resp.Trailer, raw}
}

func (w *world) get(path string) reply {
	w.t.Helper()
	return w.do(http.MethodGet, path, "", nil)
}

// dial opens a bare connection.
func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", w.server.Address())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// fakeNode is the rest of the node.
type fakeNode struct {
	proofs []block.Evidence
	status rpc.Status
	ready  rpc.Readiness
	dead   error
	panics any
	enter  chan struct{} // when not nil, Status says here that it came and then
	leave  chan struct{} // waits for this
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		status: rpc.Status{Role: "full", ChainID: "c1", Heads: rpc.Heads{Header: 9, Data: 8, Applied: 7, Final: 6}, WaitingFor: "data of 8"},
		ready:  rpc.Readiness{Ready: true},
	}
}

func (n *fakeNode) Status(context.Context) rpc.Status {
	if n.panics != nil {
		panic(n.panics)
	}
	if n.enter != nil {
		n.enter <- struct{}{}
		<-n.leave
	}
	return n.status
}
func (n *fakeNode) Ready(context.Context) rpc.Readiness                { return n.ready }
func (n *fakeNode) Evidence(context.Context) ([]block.Evidence, error) { return n.proofs, nil }

func (n *fakeNode) Live(context.Context) error { return n.dead }
func (n *fakeNode) NodeID() string             { return "12D3KooWnode" }
func (n *fakeNode) ListenAddresses() []string {
	return []string{"/ip4/127.0.0.1/tcp/7676/p2p/12D3KooWnode"}
}

func (n *fakeNode) ConnectedPeers() []rpc.Peer {
	return []rpc.Peer{{ID: "12D3KooWpeer", Address: "/ip4/127.0.0.1/tcp/7677"}}
}

// app is an executor's own endpoints.
func app() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = w.Write(bytes.Join([][]byte{[]byte(r.Method), []byte(r.URL.Path), body}, []byte(" ")))
	})
}
