package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/testutil"
)

// TestRolesStartFollowAndStop runs one node of each role on loopback sockets,
// against a DA node over HTTP.
func TestRolesStartFollowAndStop(t *testing.T) {
	testutil.Leaks(t)
	server := newDA(t)
	seq := begin(t, on(setup(t, app.RoleSequencer), server), nil)
	seq.awaitApplied(1)

	followers := map[string]*running{}
	for name, role := range map[string]app.Role{"full": app.RoleFull, "light": app.RoleLight} {
		s := on(setup(t, role), server)
		key, err := app.NodeKeyOf(testutil.Key(name))
		require.NoError(t, err)
		s.NodeKey = key
		s.Config.P2P.Peers = []string{seq.network.Addresses()[0].String()}
		followers[name] = begin(t, s, nil)
	}
	for name, n := range followers {
		n.awaitFinal(2)
		checkStatus(t, n, name)
	}
	seq.awaitFinal(2)
	checkStatus(t, seq, "sequencer")
	for _, n := range followers {
		n.stop()
	}
	seq.stop()
}

// checkStatus checks what a node at the head of both sources says of itself.
func checkStatus(t *testing.T, n *running, role string) {
	t.Helper()
	var s rpc.Status
	testutil.Await(t, soon, n.pipeline.Changed, func() bool { // DA may be faster than the first dial
		code, body := n.get("/status")
		require.Equal(t, http.StatusOK, code)
		s = rpc.Status{}
		require.NoError(t, json.Unmarshal(body, &s))
		return s.P2P.ChainPeers > 0
	})
	require.Equal(t, role, s.Role)
	require.Equal(t, "c", s.ChainID)
	require.GreaterOrEqual(t, s.Heads.Final, uint64(2))
	require.GreaterOrEqual(t, s.Heads.Applied, s.Heads.Final)
	require.GreaterOrEqual(t, s.Heads.Header, s.Heads.Applied)
	require.GreaterOrEqual(t, s.Heads.DA, s.Heads.Final)
	require.GreaterOrEqual(t, s.Heads.P2P, s.Heads.Header)
	require.Equal(t, role == "light", s.Heads.Data == 0, "light nodes hold no data")
	require.NotEmpty(t, s.Applied.Hash)
	require.NotEmpty(t, s.Applied.Source)
	require.False(t, s.Applied.At.IsZero())
	require.NotZero(t, s.Final.HeaderDA)
	require.True(t, s.DA.Enabled)
	require.NotZero(t, s.DA.Head)
	require.NotZero(t, s.DA.Cursor)
	require.NotZero(t, s.P2P.Peers)
	require.Equal(t, role == "sequencer", s.Sequencer != nil)

	code, body := n.get("/health/ready")
	require.Equal(t, http.StatusOK, code, "%s", body)
	code, body = n.get("/health/live")
	require.Equal(t, http.StatusOK, code, "%s", body)
	code, body = n.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, metric := range []string{
		`tandem_head_height{head="final"} `, `tandem_head_height{head="da"} `, "tandem_applied_blocks_total{source=", "tandem_ready 1",
		`tandem_events_total{type="header"} `, `tandem_held_bytes{part="da_pending"} `, "go_goroutines ",
		`tandem_range_requests_total{kind="header"} `,
	} {
		require.Contains(t, string(body), "\n"+metric)
	}
	require.Equal(t, role == "sequencer", strings.Contains(string(body), "\ntandem_produced_blocks_total "))
	require.Equal(t, role != "light", strings.Contains(string(body), `part="mempool"`))
}

// A node without any source starts, says so, and stops.
func TestNodeWithoutSourcesSaysSo(t *testing.T) {
	testutil.Leaks(t)
	s := setup(t, app.RoleFull)
	s.Config.P2P.Disabled = true
	n := begin(t, s, nil)
	code, body := n.get("/health/ready")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"ready":false,"reason":"no block applied yet, waiting for a source of blocks: P2P is off, and DA is not configured"}`, string(body))
}

// probe is what somebody inside of the node has.
type probe struct {
	headers app.Headers
	data    app.Data
	events  *notifier.Subscription
}

// probed adds a probe to a node. It goes into the node, below the decorators.
func probed(p *probe) fx.Option {
	return fx.Invoke(func(h app.Headers, d app.Data, n *notifier.Notifier) {
		*p = probe{h, d, n.Subscribe(notifier.Types(notifier.Header, notifier.Data))}
	})
}

// TestInvariant4_EveryoneGetsTheInstrumentedStore: whoever appends inside of the
// node, the event is there.
func TestInvariant4_EveryoneGetsTheInstrumentedStore(t *testing.T) {
	for _, role := range allRoles() {
		t.Run(role.Name(), func(t *testing.T) {
			testutil.Leaks(t)
			var p probe
			s, chain := setup(t, role), testutil.NewChain("c")
			s.Config.Execution.Name = execution.NameNoop
			chain.Root = noopRoot(t, s)
			if role.Produces() { // it must not make the block of the test itself
				s.Genesis.StartTime = time.Now().Add(time.Hour)
			}
			n := begin(t, s, nil, probed(&p))
			defer p.events.Close()
			b := chain.Next([]byte("a=1"))
			require.NoError(t, p.headers.Append(t.Context(), b.Header))
			e := notifiertest.Next(t, p.events)
			require.Equal(t, notifier.Header, e.Type)
			require.Equal(t, uint64(1), e.Height)
			require.Equal(t, [32]byte(b.Header.Digest()), e.Hash)
			require.Equal(t, notifier.P2P, e.Source)
			if role.Produces() {
				return // with its data the block would be applied, before the genesis time
			}
			require.NoError(t, p.data.Append(t.Context(), b.Data))
			e = notifiertest.Next(t, p.events)
			require.Equal(t, notifier.Data, e.Type)
			require.Equal(t, uint64(1), e.Height)
			n.awaitApplied(1) // what the events are for
		})
	}
}

// fakeStore is a store of a test.
type fakeStore struct {
	header.Store[*block.SignedHeader]

	mu  sync.Mutex
	got []*block.SignedHeader
}

func (s *fakeStore) Height() uint64 { return 0 }
func (s *fakeStore) Append(_ context.Context, h ...*block.SignedHeader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, h...)
	return nil
}

// TestReplacedStoreIsInstrumented: a store replaced at the root is the fake and
// makes events all the same.
func TestReplacedStoreIsInstrumented(t *testing.T) {
	testutil.Leaks(t)
	var p probe
	fake := &fakeStore{}
	s := setup(t, app.RoleFull)
	s.Config.P2P.Disabled = true
	begin(t, s, []fx.Option{testutil.ReplaceAs[app.Headers](fake)}, probed(&p))
	defer p.events.Close()
	b := testutil.NewChain("c").Next()
	require.NoError(t, p.headers.Append(t.Context(), b.Header))
	e := notifiertest.Next(t, p.events)
	require.Equal(t, notifier.Header, e.Type)
	require.Equal(t, uint64(1), e.Height)
	require.Equal(t, []*block.SignedHeader{b.Header}, fake.got)
}

// fakeDA is a DA layer that says that it was asked.
type fakeDA struct {
	da.None

	asked chan struct{}
}

func (d fakeDA) Head(context.Context) (da.Head, error) {
	select {
	case d.asked <- struct{}{}:
	default:
	}
	return da.Head{}, da.ErrUnavailable
}

// fakeExecutor is an application of a test.
type fakeExecutor struct {
	inits   chan block.Genesis
	execute func(block.Execution) error
}

func (e *fakeExecutor) InitChain(_ context.Context, g block.Genesis) ([]byte, error) {
	e.inits <- g
	return []byte("fake"), nil
}
func (e *fakeExecutor) GetTxs(context.Context, int) ([][]byte, error) { return nil, nil }
func (e *fakeExecutor) SetFinal(context.Context, uint64) error        { return nil }
func (e *fakeExecutor) ExecuteTxs(_ context.Context, x block.Execution) (block.ExecResult, error) {
	return block.ExecResult{StateRoot: []byte("fake")}, e.execute(x)
}

// TestReplaceAtTheRootReachesConsumers: the DA client and the executor.
func TestReplaceAtTheRootReachesConsumers(t *testing.T) {
	testutil.Leaks(t)
	client := fakeDA{asked: make(chan struct{}, 1)}
	exec := &fakeExecutor{inits: make(chan block.Genesis, 1)}
	s := setup(t, app.RoleFull)
	s.Config.P2P.Disabled = true
	n := begin(t, s, []fx.Option{testutil.ReplaceAs[da.Client](client), testutil.ReplaceAs[execution.Executor](exec)})
	require.Equal(t, "c", (<-exec.inits).ChainID)
	require.Equal(t, []byte("fake"), n.pipeline.State().AppHash)
	<-client.asked
}

// TestHomeOfAnotherChain: one clear line, and nothing is left running.
func TestHomeOfAnotherChain(t *testing.T) {
	for _, tc := range []struct {
		name   string
		role   app.Role
		change func(*block.Genesis)
		want   string
	}{
		{"full, other chain", app.RoleFull, func(g *block.Genesis) { g.ChainID = "d" }, `chain is "c" .* genesis file is of "d"`},
		{"light, other chain", app.RoleLight, func(g *block.Genesis) { g.ChainID = "d" }, `chain is "c" .* genesis file is of "d"`},
		{"full, other start", app.RoleFull, func(g *block.Genesis) { g.StartTime = g.StartTime.Add(1) }, `genesis hash [0-9A-Fa-f]+.*genesis hash [0-9A-Fa-f]+`},
		{"light, other start", app.RoleLight, func(g *block.Genesis) { g.StartTime = g.StartTime.Add(1) }, `genesis hash [0-9A-Fa-f]+.*genesis hash [0-9A-Fa-f]+`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testutil.Leaks(t)
			s := setup(t, tc.role)
			s.Config.P2P.Disabled = true
			begin(t, s, nil).stop()

			other := s
			tc.change(&other.Genesis)
			err := fx.New(app.Node(other)).Start(t.Context())
			require.Error(t, err)
			require.Regexp(t, tc.want, err.Error())
			require.NotContains(t, err.Error(), "\n")

			begin(t, s, nil).stop() // the right one still works: the lock was let go
		})
	}
}

// Two nodes on one home: the second one says so and leaves the first alone.
func TestHomeInUse(t *testing.T) {
	testutil.Leaks(t)
	s := setup(t, app.RoleFull)
	s.Config.P2P.Disabled = true
	begin(t, s, nil)
	err := fx.New(app.Node(s)).Start(t.Context())
	require.ErrorContains(t, err, "already in use")
	require.NotContains(t, err.Error(), "\n")
}

// TestPortInUse: the error names the key, and the parts that had started stop.
func TestPortInUse(t *testing.T) {
	testutil.Leaks(t)
	s := setup(t, app.RoleLight)
	s.Config.P2P.Disabled = true
	first := begin(t, s, nil)
	second := setup(t, app.RoleLight)
	second.Config.P2P.Disabled = true
	second.Config.RPC.Address = first.server.Address()
	err := fx.New(app.Node(second)).Start(t.Context())
	require.EqualError(t, err, "rpc.address: "+first.server.Address()+" is already in use by another process")
}

// observed makes a setup whose log, down to DEBUG, can be read.
func observed(s app.Setup) (app.Setup, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	s.Log = zap.New(core)
	return s, logs
}

// TestFailingWorkerStopsTheNode: an executor that panics, or says that no try
// can help, ends the node with exit code 1, and the ERROR names worker and cause.
func TestFailingWorkerStopsTheNode(t *testing.T) {
	for _, tc := range []struct {
		name    string
		role    app.Role
		worker  string
		execute func(block.Execution) error
		want    string
	}{
		{"follower, panic", app.RoleFull, "syncer", func(block.Execution) error { panic("boom") }, "executor panicked in ExecuteTxs of block 1: boom"},
		{"sequencer, panic", app.RoleSequencer, "producer", func(block.Execution) error { panic("boom") }, "executor panicked in ExecuteTxs of block 1: boom"},
		{"follower, permanent error", app.RoleFull, "syncer", func(block.Execution) error { return permanent{} }, "out of gas for ever"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testutil.Leaks(t)
			s, logs := observed(on(setup(t, tc.role), newDA(t)))
			exec := &fakeExecutor{inits: make(chan block.Genesis, 1), execute: tc.execute}
			var p probe
			n := begin(t, s, []fx.Option{testutil.ReplaceAs[execution.Executor](exec)}, probed(&p))
			failed := n.fx.Wait()
			if tc.role == app.RoleFull {
				c := testutil.NewChain("c")
				c.Root = func(uint64) []byte { return []byte("fake") }
				b := c.Next([]byte("a=1"))
				require.NoError(t, p.headers.Append(t.Context(), b.Header))
				require.NoError(t, p.data.Append(t.Context(), b.Data))
			}
			require.Equal(t, 1, (<-failed).ExitCode)
			n.stop()
			p.events.Close()
			entries := logs.FilterMessage("worker failed, the node stops").All()
			require.NotEmpty(t, entries)
			for _, e := range entries {
				require.Equal(t, zap.ErrorLevel, e.Level)
				// The DA worker is told the same when it comes to the pipeline, and
				// may be the first to say so.
				require.Contains(t, []any{tc.worker, "daworker"}, e.ContextMap()["worker"])
				require.Contains(t, e.ContextMap()["error"], tc.want)
			}
		})
	}
}

// permanent is an error no further try can help with.
type permanent struct{}

func (permanent) Error() string   { return "out of gas for ever" }
func (permanent) Permanent() bool { return true }

// TestStopOrder: who uses a part stops before the part does. The database closes
// when nobody can be writing to it any more.
func TestStopOrder(t *testing.T) {
	testutil.Leaks(t)
	s, logs := observed(on(setup(t, app.RoleSequencer), newDA(t)))
	var db *leveldb.DB
	var rpcOpen, dbOpen bool
	n := begin(t, s, nil, fx.Populate(&db), fx.Invoke(func(lc fx.Lifecycle, srv *rpc.Server, db *leveldb.DB) {
		// Started last, stopped first: everything is still there.
		lc.Append(fx.StopHook(func() {
			_, err := db.Has([]byte("x"))
			dbOpen, rpcOpen = err == nil, srv.Address() != ""
		}))
	}))
	n.awaitApplied(2)
	n.stop()
	require.True(t, dbOpen)
	require.True(t, rpcOpen)
	_, err := db.Has([]byte("x"))
	require.Error(t, err)

	var order []string
	for _, e := range logs.FilterMessage("OnStop hook executed").All() {
		caller, _ := e.ContextMap()["caller"].(string)
		order = append(order, caller)
	}
	// workersBefore counts the workers that have stopped when a part closes.
	workersBefore := func(part string) int {
		workers := 0
		for _, caller := range order {
			switch {
			case strings.Contains(caller, part):
				return workers
			case strings.Contains(caller, "fxrun.Go"):
				workers++
			}
		}
		require.Fail(t, "no such hook: "+part, strings.Join(order, "\n"))
		return 0
	}
	const (
		daUsers    = 11             // profiling, rpc, producer, submitter, forced, referee, syncer, daworker, both exchanges, da's own
		storeUsers = daUsers + 1    // and the pipeline
		all        = storeUsers + 2 // and those of the disk and of p2p
	)
	require.Equal(t, daUsers, workersBefore("modules/da."))
	require.Equal(t, storeUsers, workersBefore("modules/execution."))
	require.Equal(t, storeUsers, workersBefore("modules/leveldb."))
	require.Equal(t, all, workersBefore("modules/p2p."))
}

// A part that cannot start ends the start, and what had started is stopped.
func TestFailedStartLeavesNothingRunning(t *testing.T) {
	testutil.Leaks(t)
	cause := errors.New("no luck today")
	s := setup(t, app.RoleFull)
	a := fx.New(app.Node(s, fx.Invoke(func(lc fx.Lifecycle, _ *rpc.Server) {
		lc.Append(fx.StartHook(func() error { return cause }))
	})))
	require.ErrorIs(t, a.Start(t.Context()), cause)
	s.Home = t.TempDir()
	begin(t, s, nil).stop()
}
