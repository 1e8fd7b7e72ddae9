package testnet

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/execution/executiontest"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/testutil"
)

// Parts are the parts of a running node. What its role lacks is nil.
type Parts struct {
	Pipeline       *pipeline.Pipeline
	Store          *chainstore.Store
	Headers        app.Headers
	Data           app.Data
	Syncer         *syncer.Syncer
	Worker         *daworker.Worker
	Network        *p2p.Node
	Notifier       *notifier.Notifier
	HeaderExchange *exchange.Exchange[*block.SignedHeader]
	DataExchange   *exchange.Exchange[*block.Data]
	Producer       *sequencer.Producer
	Submitter      *sequencer.Submitter
	Executor       execution.Executor // as it was before Probe was put before it
	Probe          *Probe             // nil for executors that lack optional parts
	API            rpc.Params         // what the RPC server would show
}

func (p *Parts) populate(role app.Role) []fx.Option {
	out := []fx.Option{fx.Populate(
		&p.Pipeline, &p.Store, &p.Headers, &p.Data, &p.Syncer, &p.Worker, &p.Network, &p.Notifier,
		&p.HeaderExchange, &p.API,
	)}
	if role.Executes() {
		out = append(out, fx.Populate(&p.DataExchange))
	}
	if role.Produces() {
		out = append(out, fx.Populate(&p.Producer, &p.Submitter))
	}
	return out
}

// Applied returns the newest applied height.
func (x *Node) Applied() uint64 { return x.Pipeline.Snapshot().Applied() }

// Final returns the newest final height.
func (x *Node) Final() uint64 { return x.Pipeline.Snapshot().Final }

// Status returns what the node says of itself once what goes on at this instant has
// come to its end: its parts are read one after the other.
func (x *Node) Status() rpc.Status {
	synctest.Wait()
	return x.API.Node.Status(context.Background())
}

// Evidence returns the proofs the node keeps.
func (x *Node) Evidence() []block.Evidence {
	x.net.t.Helper()
	all, err := x.Store.Evidence(context.Background())
	require.NoError(x.net.t, err)
	return all
}

// WaitHalt waits until the node takes no more blocks because of a conflict.
func (x *Node) WaitHalt(within time.Duration) {
	x.net.t.Helper()
	const look = 100 * time.Millisecond // virtual
	for end := time.Now().Add(within); x.Pipeline.Conflicts().Halted == nil; time.Sleep(look) {
		require.True(x.net.t, time.Now().Before(end), "%s has not halted after %s", x.Name(), within)
	}
}

// Root returns the state root after a height.
func (x *Node) Root(height uint64) []byte {
	x.net.t.Helper()
	st, err := x.Store.StateAt(context.Background(), height)
	require.NoError(x.net.t, err, "state of %s at %d", x.Name(), height)
	return st.AppHash
}

// Header returns an applied header.
func (x *Node) Header(height uint64) *block.SignedHeader {
	x.net.t.Helper()
	h, err := x.Headers.GetByHeight(context.Background(), height)
	require.NoError(x.net.t, err, "header of %s at %d", x.Name(), height)
	return h
}

// WaitApplied waits until the node has applied a height.
func (x *Node) WaitApplied(height uint64, within time.Duration) {
	x.net.t.Helper()
	x.wait(within, func() bool { return x.Applied() >= height }, "%s applied %d", height)
}

// WaitFinal waits until a height is final on the node.
func (x *Node) WaitFinal(height uint64, within time.Duration) {
	x.net.t.Helper()
	x.wait(within, func() bool { return x.Final() >= height }, "%s has %d final", height)
}

// WaitHeaders waits until the node stores headers and, if it executes, data up to
// a height.
func (x *Node) WaitHeaders(height uint64, within time.Duration) {
	x.net.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := x.Headers.GetByHeight(ctx, height)
	require.NoError(x.net.t, err, "header %d of %s", height, x.Name())
	if x.spec.role.Executes() {
		_, err = x.Data.GetByHeight(ctx, height)
		require.NoError(x.net.t, err, "data %d of %s", height, x.Name())
	}
}

// WaitConnected waits until the node has a connection to another one.
func (x *Node) WaitConnected(to *Node, within time.Duration) {
	x.net.t.Helper()
	const look = 10 * time.Millisecond // virtual
	for end := time.Now().Add(within); ; time.Sleep(look) {
		for _, p := range x.Network.Peers() {
			if p.ID == to.Network.ID() {
				return
			}
		}
		require.True(x.net.t, time.Now().Before(end), "%s is not connected to %s after %s", x.Name(), to.Name(), within)
	}
}

func (x *Node) wait(within time.Duration, ok func() bool, what string, height uint64) {
	x.net.t.Helper()
	testutil.AwaitElse(x.net.t, within, x.Pipeline.Changed, ok, func() string {
		s := x.Status()
		return fmt.Sprintf("wanted: "+what+"; heads %+v, p2p %+v, da %+v, waiting for %q", x.Name(), height, s.Heads, s.P2P, s.DA, s.WaitingFor)
	})
}

// Submit puts a transaction into the node's mempool.
func (x *Node) Submit(tx []byte) {
	x.net.t.Helper()
	s, ok := x.Executor.(execution.Submitter)
	require.True(x.net.t, ok, "the executor of %s takes no transactions", x.Name())
	require.NoError(x.net.t, s.Submit(context.Background(), tx))
}

// Put submits a write to the built-in executor.
func (x *Node) Put(key, value string) {
	x.net.t.Helper()
	x.Submit([]byte(key + "=" + value))
}

// Get reads a key of the built-in executor.
func (x *Node) Get(key string) (string, bool) {
	x.net.t.Helper()
	e := any(x.Executor)
	if r, ok := e.(executiontest.Rotating); ok {
		e = r.Complete
	}
	kv, ok := e.(interface {
		Get(key []byte) ([]byte, bool, error)
	})
	require.True(x.net.t, ok, "the executor of %s has no keys", x.Name())
	v, found, err := kv.Get([]byte(key))
	require.NoError(x.net.t, err)
	return string(v), found
}

// WaitGet waits until a key has a value.
func (x *Node) WaitGet(key, value string, within time.Duration) {
	x.net.t.Helper()
	testutil.AwaitElse(x.net.t, within, x.Pipeline.Changed, func() bool {
		v, _ := x.Get(key)
		return v == value
	}, func() string {
		return fmt.Sprintf("wanted: %s=%s on %s; heads %+v", key, value, x.Name(), x.Status().Heads)
	})
}
