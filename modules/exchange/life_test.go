package exchange

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// With nothing arriving nothing wakes up.
func TestIdleIsQuiet(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(20, 1)
	settle := func(p *HeaderParams) { p.Config.Settle = 20 * time.Millisecond }
	a := dataNodeOn(t, newHeaderNode(t, c, bs, settle), c, bs)
	b := dataNodeOn(t, newHeaderNode(t, c, nil, settle), c, nil)
	connect(t, a.machine, b.machine)
	b.data.reaches(t, 20)
	next := c.Next([]byte("tx"))
	meshed(t, a.ex, 1)
	meshed(t, a.dx, 1)
	require.NoError(t, a.ex.Broadcast(t.Context(), next.Header))
	require.NoError(t, a.dx.Broadcast(t.Context(), next.Data))
	b.data.reaches(t, 21)
	total := func() uint64 {
		return a.ex.Stats().Wakeups + a.dx.Stats().Wakeups + b.ex.Stats().Wakeups + b.dx.Stats().Wakeups
	}
	// It comes to rest: two looks half a second apart see the same count.
	last, since := uint64(0), time.Now()
	eventually(t, func() bool {
		if n := total(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	}, "never at rest")
	t.Logf("%d wake-ups for 21 blocks on four exchanges", last)
	require.Less(t, last, uint64(300))
}

// ours returns the stacks of goroutines that run code of an Exchange. Those of
// libp2p come and go by themselves.
func ours() string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []string
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, "modules/exchange.(*Exchange[") || strings.Contains(g, "modules/exchange.(*puller[") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}

// While Run has peers, gossip and streams in every state, its end leaves nothing
// behind.
func TestRunLeavesNothing(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(100, 1)
	m, other := newMachine(t), newMachine(t)
	connect(t, m, other)
	silent := make(chan struct{})
	hs, ds := newStore[*block.SignedHeader](), newStore[*block.Data]()
	hx := NewHeaders(HeaderParams{
		Network: m, Store: hs, Genesis: c.Genesis, Proposers: proposers(c.Genesis.ProposerAddress), Now: clock, Config: Default(),
	})
	dx := NewData(DataParams{
		Network: m, Store: ds, Headers: hs, HeaderEvents: hs.events(t), Genesis: c.Genesis, Now: clock, Config: Default(),
	})
	other.host.SetStreamHandler(dx.Protocol(), func(network.Stream) { <-silent }) // never answers
	require.NoError(t, hs.Append(t.Context(), testutil.Headers(bs)...))
	require.Eventually(t, func() bool {
		ps, err := m.host.Peerstore().SupportsProtocols(other.host.ID(), dx.Protocol())
		return err == nil && len(ps) == 1
	}, soon, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- hx.Run(ctx) }()
	go func() { done <- dx.Run(ctx) }()
	<-hx.ready
	<-dx.ready
	eventually(t, func() bool { return dx.Status().InFlight > 0 }, "nothing asked")
	// A stream that is being served, and data that waits for its header.
	s, err := other.host.NewStream(t.Context(), m.host.ID(), hx.Protocol())
	require.NoError(t, err)
	_, err = s.Write([]byte{4})
	require.NoError(t, err)
	eventually(t, func() bool { return hx.serving.streams() == 1 }, "not served")
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		_ = dx.Broadcast(t.Context(), c.Next([]byte("x")).Data)
	}()
	eventually(t, func() bool { return dx.Status().WaitingBytes > 0 }, "not waiting")
	stopped := time.Now()
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	<-waiting
	testutil.Took(t, "stop", stopped, 2*time.Second)
	require.Error(t, hx.Run(t.Context()), "once only")
	close(silent)
	eventually(t, func() bool { return ours() == "" }, "left behind: %s", ours())
}

func TestRunNamesWhatFailed(t *testing.T) {
	c := testutil.NewChain(chainID)
	n := newHeaderNode(t, c, nil)
	second := NewHeaders(HeaderParams{Network: n.machine, Store: n.store, Genesis: c.Genesis, Config: Default()})
	err := second.Run(t.Context()) // the topic is taken
	require.ErrorContains(t, err, n.ex.Topic())
	require.ErrorIs(t, second.Broadcast(t.Context(), c.Next().Header), ErrStopped)
}

func TestModule(t *testing.T) {
	c := testutil.NewChain(chainID)
	h, err := libp2p.New(libp2p.NoListenAddrs)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	ps, err := pubsub.NewGossipSub(t.Context(), h)
	require.NoError(t, err)
	m := &machine{host: h, ps: ps}
	hs, ds := newStore[*block.SignedHeader](), newStore[*block.Data]()
	var (
		hx *Exchange[*block.SignedHeader]
		dx *Exchange[*block.Data]
	)
	app := fxtest.New(t, fx.NopLogger, fx.Supply(zap.NewNop()),
		fx.Provide(func() header.Store[*block.SignedHeader] { return hs },
			func(s header.Store[*block.SignedHeader]) HeaderParams {
				return HeaderParams{Network: m, Store: s, Genesis: c.Genesis, Proposers: proposers(c.Genesis.ProposerAddress), Config: Default()}
			},
			func(s header.Store[*block.SignedHeader]) DataParams {
				return DataParams{Network: m, Store: ds, Headers: s, HeaderEvents: hs.events(t), Genesis: c.Genesis, Config: Default()}
			}),
		Module(), fx.Populate(&hx, &dx))
	app.RequireStart()
	b := c.Next()
	require.NoError(t, hx.Broadcast(t.Context(), b.Header)) // publishing stores what is new
	require.NoError(t, dx.Broadcast(t.Context(), b.Data))
	require.EqualValues(t, 1, hs.Height())
	require.EqualValues(t, 1, ds.Height())
	app.RequireStop()
}

func TestConfig(t *testing.T) {
	require.NoError(t, Default().Validate())
	for key, spoil := range map[string]func(*Config){
		"request_timeout": func(c *Config) { c.RequestTimeout = 0 },
		"in_flight":       func(c *Config) { c.InFlight = 0 },
		"grace":           func(c *Config) { c.Grace = -1 },
		"retry_max":       func(c *Config) { c.RetryMax = 1 },
		"gossip_bytes":    func(c *Config) { c.GossipBytes = 1 },
	} {
		c := Default()
		spoil(&c)
		require.ErrorContains(t, c.Validate(), key)
	}
}

func TestParkIsBounded(t *testing.T) {
	c := testutil.NewChain(chainID)
	hs := testutil.Headers(c.Blocks(20, 0))
	var p park[*block.SignedHeader]
	size := hs[10].Held()
	p.init(15, 4*size+size/2)
	require.False(t, p.put(1, hs[19]), "beyond the window")
	for _, i := range []int{14, 13, 12, 11} {
		require.True(t, p.put(1, hs[i]))
	}
	require.False(t, p.put(1, hs[15]), "the farthest gives way")
	require.True(t, p.put(1, hs[5]))
	_, ok := p.get(15)
	require.False(t, ok)
	require.EqualValues(t, 6, p.next(3, 100))
	require.Len(t, p.run(12, 10), 3)
	p.upTo(13)
	n, bytes := p.size()
	require.Equal(t, 1, n)
	require.EqualValues(t, hs[13].Held(), bytes)
}

func TestPeerChoice(t *testing.T) {
	now := clock()
	var ps peerSet
	cfg := Default()
	ps.init(cfg)
	_, at, ok := ps.pick(1, "", now)
	require.False(t, ok)
	require.True(t, at.IsZero(), "only a new peer helps")
	require.True(t, ps.add("a"))
	require.False(t, ps.add("a"))
	id, _, ok := ps.pick(1, "a", now)
	require.True(t, ok, "the same again when there is no other")
	require.EqualValues(t, "a", id)
	ps.done("a", outcomeFailed, 1, now)
	_, at, ok = ps.pick(1, "", now)
	require.False(t, ok)
	require.Equal(t, now.Add(cfg.RetryMin), at)
	ps.add("b")
	id, _, _ = ps.pick(1, "a", now)
	require.EqualValues(t, "b", id)
	ps.done("b", outcomeMissing, 50, now)
	_, _, ok = ps.pick(50, "", now)
	require.False(t, ok)
	_, _, ok = ps.pick(49, "", now)
	require.True(t, ok, "what is below it may have")
	ps.has("b", 50)
	_, _, ok = ps.pick(50, "", now)
	require.True(t, ok)
	for range 20 {
		ps.done("b", outcomeGood, 1, now)
	}
	require.Equal(t, cfg.InFlight, ps.set["b"].limit)
	require.Equal(t, cfg.RetryMax, backOff(cfg.RetryMin, cfg.RetryMax, 100))
}

// Head requests that fail are repeated with back-off, and come to an end.
func TestHeadRequestsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ps peerSet
		ps.init(Default())
		ps.add("a")
		n := 0
		for range 100 {
			due, at := ps.unasked(time.Now())
			if len(due) == 0 && at.IsZero() {
				break
			}
			if len(due) == 0 {
				<-time.After(time.Until(at))
				continue
			}
			n++
			ps.unheard("a", time.Now())
		}
		require.Equal(t, 11, n)
	})
}

func TestQuiet(t *testing.T) {
	var q quiet
	now := clock()
	seconds := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second) }
	expect := func(at int, head uint64, over bool, next int) {
		t.Helper()
		gotOver, gotNext := q.over(seconds(at), head, 2*time.Second)
		require.Equal(t, over, gotOver, "at %d", at)
		require.Equal(t, seconds(next), gotNext, "at %d", at)
	}
	expect(0, 1, false, 2)
	require.False(t, q.note(now.Add(time.Second)))
	expect(2, 2, false, 3)
	expect(3, 1, true, 7)
	expect(6, 1, false, 7)
	expect(7, 1, true, 15)
	expect(15, 1, true, 25)
	expect(25, 1, true, 35)
	expect(35, 9, true, 37) // the store grew: others hear more
	require.True(t, q.note(now.Add(36*time.Second)), "the silence is over")
	require.False(t, q.note(now.Add(36*time.Second)))
	expect(37, 9, false, 38)
	expect(38, 9, true, 42)
}

// The last gossip before a quiet period may get lost.
func TestLostLastGossip(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(10, 0)
	a := newHeaderNode(t, c, bs)
	b := newHeaderNode(t, c, bs, func(p *HeaderParams) { p.Config.Settle = 20 * time.Millisecond })
	connect(t, a.machine, b.machine)
	meshed(t, a.ex, 1)
	eventually(t, func() bool { return b.ex.Status().Peers == 1 }, "no peer")
	more := c.Blocks(2, 0)
	require.NoError(t, a.store.Append(t.Context(), testutil.Headers(more)...))
	require.NoError(t, a.ex.Broadcast(t.Context(), more[0].Header)) // the second is lost
	b.store.reaches(t, 12)
}

func TestInnocent(t *testing.T) {
	require.True(t, innocent(errors.Join(errFar)))
	require.False(t, innocent(block.ErrBadSignature))
}
