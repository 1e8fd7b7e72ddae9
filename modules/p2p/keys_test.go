package p2p_test

import (
	"testing"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// watched is a node whose problems are seen.
func watched(t *testing.T, name string, c p2p.Config) (*p2p.Node, *problems.Board) {
	t.Helper()
	board := problems.New()
	n, err := p2p.New(p2p.Params{Config: c, ChainID: "c", Key: key(t, name), Problems: board, Log: zap.NewNop()})
	require.NoError(t, err)
	runs(t, n)
	return n, board
}

func reasons(b *problems.Board) (out []string) {
	for _, p := range b.List() {
		out = append(out, p.Reason)
	}
	return out
}

// A static peer that has another key than expected is named, with both ids, until it
// has the right one.
func TestStaticPeerWithAnotherKey(t *testing.T) {
	a, stop := start(t, "a", config())
	expected := build(t, "b", config()).ID()
	at := a.Host().Addrs()[0].String()
	n, board := watched(t, "n", config(at+"/p2p/"+expected.String()))
	require.Eventually(t, func() bool { return len(board.List()) == 1 }, soon, tick)
	p := board.List()[0]
	require.Equal(t, problems.PeerKey, p.Kind)
	require.Equal(t, expected.String(), p.Subject)
	require.Contains(t, p.Reason, at)
	require.Contains(t, p.Reason, a.ID().String())
	require.Contains(t, p.Reason, expected.String())
	stop()
	c := config()
	c.ListenAddresses = []string{at}
	b, _ := start(t, "b", c)
	require.Eventually(t, connected(n, b), soon, tick)
	require.Eventually(t, func() bool { return len(board.List()) == 0 }, soon, tick)
}

func TestStaticPeersThatAreThisNode(t *testing.T) {
	own := build(t, "n", config()).ID()
	_, board := watched(t, "n", config("/ip4/192.0.2.1/tcp/1/p2p/"+own.String()))
	require.Eventually(t, func() bool { return len(board.List()) == 1 }, soon, tick)
	require.Contains(t, reasons(board)[0], "/ip4/192.0.2.1/tcp/1/p2p/"+own.String())
	require.Contains(t, reasons(board)[0], "signer.node_key_file")
}

// twin is a host with a key that may be another's too.
func twin(t *testing.T, n *p2p.Node, name string) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.Identity(key(t, name)), libp2p.NoListenAddrs, libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	require.NoError(t, h.Connect(t.Context(), peer.AddrInfo{ID: n.ID(), Addrs: []ma.Multiaddr{n.Host().Addrs()[0]}}))
	return h
}

// Two nodes with one key are named by whoever both connect to, until one is gone.
func TestTwinsAreNamed(t *testing.T) {
	n, board := watched(t, "n", config())
	first := twin(t, n, "twin")
	second := twin(t, n, "twin") // within a second: neither takes the other's place
	require.Eventually(t, func() bool { return len(board.List()) == 1 }, soon, tick, "%v", board.List())
	require.Equal(t, first.ID().String(), board.List()[0].Subject)
	require.Contains(t, reasons(board)[0], "two nodes run with the key of peer "+first.ID().String())
	require.NoError(t, second.Close())
	require.Eventually(t, func() bool { return len(board.List()) == 0 }, soon, tick)
}

// A peer that comes back while its old connection looks alive is reached on the new
// one: the old one goes at once.
func TestNewerConnectionReplacesOne(t *testing.T) {
	n, board := watched(t, "n", config())
	first := twin(t, n, "twin")
	require.Eventually(t, func() bool {
		conns := n.Host().Network().ConnsToPeer(first.ID())
		return len(conns) == 1 && time.Since(conns[0].Stat().Opened) > 1100*time.Millisecond
	}, soon, tick)
	old := n.Host().Network().ConnsToPeer(first.ID())[0]
	second := twin(t, n, "twin")
	require.Eventually(t, func() bool {
		conns := n.Host().Network().ConnsToPeer(first.ID())
		return old.IsClosed() && len(conns) == 1
	}, soon, tick)
	require.Equal(t, network.Connected, second.Network().Connectedness(n.ID()))
	require.Eventually(t, func() bool { return first.Network().Connectedness(n.ID()) != network.Connected }, soon, tick)
	require.Empty(t, board.List())
}

// A static peer that hangs up at once, as one does that has banned this node, is not
// dialled again at once.
func TestBriefConnectionsAreNotRedialledAtOnce(t *testing.T) {
	h := stranger(t)
	came := make(chan time.Time, 64)
	h.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		select {
		case came <- time.Now():
		default:
		}
		_ = c.Close()
	}})
	start(t, "n", config(h.Addrs()[0].String()+"/p2p/"+h.ID().String()))
	first := <-came
	require.GreaterOrEqual(t, (<-came).Sub(first), 500*time.Millisecond)
}

// When a connection that pubsub may have used ends beside a newer one, that goes too:
// pubsub has forgotten what the peer subscribed to, and both sides start over.
func TestNewerConnectionEndsWithAnOlderOne(t *testing.T) {
	c := config()
	c.ListenAddresses = append(c.ListenAddresses, "/ip4/127.0.0.1/udp/0/quic-v1")
	n, _ := start(t, "n", c)
	first := twin(t, n, "twin")
	require.Eventually(t, func() bool {
		conns := n.Host().Network().ConnsToPeer(first.ID())
		return len(conns) == 1 && time.Since(conns[0].Stat().Opened) > 1100*time.Millisecond
	}, soon, tick)
	second, err := libp2p.New(libp2p.Identity(key(t, "twin")), libp2p.NoListenAddrs, libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { _ = second.Close() })
	require.NoError(t, second.Connect(t.Context(), peer.AddrInfo{ID: n.ID(), Addrs: []ma.Multiaddr{n.Host().Addrs()[1]}}))
	require.Eventually(t, func() bool { return len(n.Host().Network().ConnsToPeer(first.ID())) == 2 }, soon, tick)
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return len(n.Host().Network().ConnsToPeer(first.ID())) == 0 }, soon, tick)
}
