package p2p_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/testutil"
)

func config(peers ...string) p2p.Config {
	c := p2p.Default()
	c.ListenAddresses = []string{"/ip4/127.0.0.1/tcp/0"}
	c.Peers = peers
	c.DHT = false
	return c
}

func key(t *testing.T, name string) crypto.PrivKey {
	t.Helper()
	k, err := crypto.UnmarshalEd25519PrivateKey(testutil.Key(name))
	require.NoError(t, err)
	return k
}

func build(t *testing.T, name string, c p2p.Config) *p2p.Node {
	t.Helper()
	n, err := p2p.New(p2p.Params{Config: c, ChainID: "c", Key: key(t, name), UserAgent: "tandem/test", Log: zap.NewNop()})
	require.NoError(t, err)
	return n
}

// start runs a node until the returned stop is called, or the test ends.
func start(t *testing.T, name string, c p2p.Config) (n *p2p.Node, stop func()) {
	t.Helper()
	n = build(t, name, c)
	return n, runs(t, n)
}

// runs runs a node until the returned stop is called, or the test ends.
func runs(t *testing.T, n *p2p.Node) (stop func()) {
	t.Helper()
	require.NoError(t, n.Start(t.Context()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, n.Close(context.WithoutCancel(t.Context())))
	}
	t.Cleanup(stop)
	return stop
}

func address(n *p2p.Node) string { return n.Addresses()[0].String() }

func connected(a, b *p2p.Node) func() bool {
	return func() bool { return a.Host().Network().Connectedness(b.ID()) == network.Connected }
}

const (
	soon = 2 * time.Minute
	tick = 10 * time.Millisecond
)

func TestStaticPeersConnectAndReconnect(t *testing.T) {
	a, stopA := start(t, "a", config())
	at := address(a)
	b, _ := start(t, "b", config(at))
	require.Eventually(t, connected(b, a), soon, tick)
	require.Equal(t, "tandem/test", func() string {
		require.Eventually(t, func() bool { return b.Peers()[0].Agent != "" }, soon, tick)
		return b.Peers()[0].Agent
	}())

	stopA()
	require.Eventually(t, func() bool { return len(b.Peers()) == 0 }, soon, tick)
	c := config()
	tcp, _, err := net.SplitHostPort("127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", tcp)
	c.ListenAddresses = []string{at[:len(at)-len("/p2p/"+a.ID().String())]}
	again, _ := start(t, "a", c)
	require.Eventually(t, connected(b, again), soon, tick)
}

// TestDeadStaticPeerDelaysNothing: start-up does not wait for peers.
func TestDeadStaticPeerDelaysNothing(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	dead := "/ip4/127.0.0.1/tcp/" + port(t, silent.Addr()) + "/p2p/" + build(t, "dead", config()).ID().String()
	live, _ := start(t, "live", config())
	const given = 4500 * time.Millisecond // libp2p gives a silent peer on loopback 5 s
	begin := time.Now()
	n, _ := start(t, "n", config(dead, address(live)))
	up := time.Since(begin)
	require.Less(t, up, given)
	require.Eventually(t, connected(n, live), given, tick, "the live peer does not wait for the dead one")
	t.Logf("up after %s, connected %s later", up, time.Since(begin)-up)
}

func port(t *testing.T, a net.Addr) string {
	t.Helper()
	_, p, err := net.SplitHostPort(a.String())
	require.NoError(t, err)
	return p
}

func TestGater(t *testing.T) {
	a, _ := start(t, "a", config())
	blocking := config(address(a))
	blocking.BlockedPeers = []string{address(a)}
	b, _ := start(t, "b", blocking)
	only := config()
	only.AllowedPeers = []string{b.ID().String()}
	closed, _ := start(t, "closed", only)

	stranger, _ := start(t, "stranger", config(address(closed)))
	friend, _ := start(t, "b2", config(address(a)))
	require.Eventually(t, connected(friend, a), soon, tick)
	require.NoError(t, b.Host().Connect(t.Context(), *hostInfo(closed)), "the allow list lets b in")
	_ = stranger.Host().Connect(t.Context(), *hostInfo(closed)) // may succeed until the other side hangs up
	require.Eventually(t, func() bool { return !connected(stranger, closed)() }, soon, tick)
	require.Len(t, closed.Peers(), 1)
	require.Error(t, b.Host().Connect(t.Context(), *hostInfo(a)))

	b.Unblock(a.ID())
	require.NoError(t, b.Host().Connect(t.Context(), *hostInfo(a)))
	require.NoError(t, b.Block(a.ID()))
	require.Eventually(t, func() bool { return !connected(b, a)() }, soon, tick)
}

func TestPortInUseIsOneClearLine(t *testing.T) {
	a, _ := start(t, "a", config())
	taken := a.Host().Addrs()[0].String()
	c := config()
	c.ListenAddresses = []string{taken}
	err := build(t, "b", c).Start(t.Context())
	require.ErrorContains(t, err, taken)
	require.ErrorContains(t, err, "address already in use")
	require.NotContains(t, err.Error(), "\n")
}

// TestFloodSubPeers: gossip passes in both directions to a FloodSub-only peer.
func TestFloodSubPeers(t *testing.T) {
	n, _ := start(t, "n", config())
	_, mine, theirs, in, out := floodSub(t, n)
	big := make([]byte, 5<<20)
	require.NoError(t, mine.Publish(t.Context(), []byte("down")))
	msg, err := out.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "down", string(msg.Data))
	require.NoError(t, theirs.Publish(t.Context(), []byte("up")))
	for {
		msg, err = in.Next(t.Context())
		require.NoError(t, err)
		if string(msg.Data) == "up" {
			break
		}
	}
	c, _ := start(t, "c", config(address(n)))
	require.Eventually(t, connected(c, n), soon, tick)
	third, err := c.PubSub().Join("topic")
	require.NoError(t, err)
	far, err := third.Subscribe()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(mine.ListPeers()) == 2 }, soon, tick)
	require.NoError(t, mine.Publish(t.Context(), big))
	msg, err = far.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, msg.Data, len(big), "a block of 5 MiB passes")
	in.Cancel()
	out.Cancel()
	far.Cancel()
}

// TestDHTFindsPeersOfTheChain: two nodes that know only a third find each other.
func TestDHTFindsPeersOfTheChain(t *testing.T) {
	withDHT := func(peers ...string) p2p.Config {
		c := config(peers...)
		c.DHT = true
		return c
	}
	hub, _ := start(t, "hub", withDHT())
	a, _ := start(t, "a", withDHT(address(hub)))
	b, _ := start(t, "b", withDHT(address(hub)))
	require.Eventually(t, connected(a, b), soon, tick)
}

func TestStopsWithoutLeaks(t *testing.T) {
	testutil.Leaks(t)
	a, stopA := start(t, "a", config())
	_, stopB := start(t, "b", config(address(a)))
	begin := time.Now()
	stopB()
	stopA()
	testutil.Took(t, "two stops", begin, 2*time.Second)
	require.Nil(t, a.Host())
	require.NoError(t, a.Close(t.Context()), "closing twice is fine")
}

func TestConfigErrorsNameKeyAndValue(t *testing.T) {
	tests := map[string]func(*p2p.Config){
		`p2p.listen_addresses: "localhost:1"`: func(c *p2p.Config) { c.ListenAddresses = []string{"localhost:1"} },
		`p2p.peers: "/ip4/1.2.3.4/tcp/1"`:     func(c *p2p.Config) { c.Peers = []string{"/ip4/1.2.3.4/tcp/1"} },
		`p2p.blocked_peers: "x"`:              func(c *p2p.Config) { c.BlockedPeers = []string{"x"} },
		`p2p.allowed_peers: "y"`:              func(c *p2p.Config) { c.AllowedPeers = []string{"y"} },
		`p2p.max_message_bytes is 1`:          func(c *p2p.Config) { c.MaxMessageBytes = 1 },
	}
	for want, breakIt := range tests {
		c := p2p.Default()
		require.NoError(t, c.Validate())
		breakIt(&c)
		require.ErrorContains(t, c.Validate(), want)
		_, err := p2p.New(p2p.Params{Config: c, Key: key(t, "a"), Log: zap.NewNop()})
		require.Error(t, err)
	}
}
