package p2p

import (
	"fmt"

	libp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	ma "github.com/multiformats/go-multiaddr"
)

// Limits that no operator needs to turn.
const (
	// connsPerPeer leaves room for simultaneous dials over several transports.
	connsPerPeer = 8
	// transientConns have not said yet who they are.
	transientConns = 64
	// protocolShare is the part of a peer's streams one protocol may take.
	protocolShare = 2
	// bufferShare is the part of the buffers one peer may take.
	bufferShare = 4
)

// resources returns what bounds connections, streams and their buffers. Static
// peers have limits of their own: nobody can take their place.
func (c Config) resources() (network.ResourceManager, error) {
	defaults := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&defaults)
	conns, streams := 2*c.MaxPeers, c.MaxPeers*c.MaxPeerStreams/4
	all := rcmgr.ResourceLimits{
		Conns: rcmgr.LimitVal(conns), ConnsInbound: rcmgr.LimitVal(c.MaxPeers), ConnsOutbound: rcmgr.LimitVal(c.MaxPeers),
		Streams: rcmgr.LimitVal(max(streams, 2*c.MaxPeerStreams)), StreamsInbound: rcmgr.LimitVal(max(streams, c.MaxPeerStreams)),
		StreamsOutbound: rcmgr.LimitVal(max(streams, c.MaxPeerStreams)),
		FD:              rcmgr.LimitVal(conns), Memory: rcmgr.LimitVal64(c.BufferBytes),
	}
	transient := rcmgr.ResourceLimits{ // streams without a protocol are bounded per peer, see streamGate
		Conns: transientConns, ConnsInbound: transientConns / 2, ConnsOutbound: transientConns / 2,
		Streams: all.Streams, StreamsInbound: all.StreamsInbound, StreamsOutbound: all.StreamsOutbound,
		FD: transientConns, Memory: rcmgr.LimitVal64(c.BufferBytes / bufferShare),
	}
	one := rcmgr.ResourceLimits{
		Conns: connsPerPeer, ConnsInbound: connsPerPeer, ConnsOutbound: connsPerPeer, FD: connsPerPeer,
		Streams: rcmgr.LimitVal(c.MaxPeerStreams), StreamsInbound: rcmgr.LimitVal(c.MaxPeerStreams), StreamsOutbound: rcmgr.LimitVal(c.MaxPeerStreams),
		Memory: rcmgr.LimitVal64(c.BufferBytes / bufferShare),
	}
	protocol := rcmgr.ResourceLimits{
		Streams: rcmgr.LimitVal(c.MaxPeerStreams / protocolShare), StreamsInbound: rcmgr.LimitVal(c.MaxPeerStreams / protocolShare),
		StreamsOutbound: rcmgr.LimitVal(c.MaxPeerStreams / protocolShare), Memory: rcmgr.LimitVal64(c.BufferBytes / bufferShare),
	}
	partial := rcmgr.PartialLimitConfig{
		System: all, Transient: transient, AllowlistedSystem: all, AllowlistedTransient: transient,
		PeerDefault: one, ProtocolPeerDefault: protocol, ServicePeerDefault: protocol,
		ProtocolDefault: rcmgr.ResourceLimits{Streams: all.Streams, StreamsInbound: all.StreamsInbound, StreamsOutbound: all.StreamsOutbound, Memory: all.Memory},
	}
	static := make([]ma.Multiaddr, 0, len(c.Peers))
	for _, text := range c.Peers {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, fmt.Errorf("p2p.peers: %q: %w", text, err)
		}
		if bare := allowable(a); bare != nil {
			static = append(static, bare)
		}
	}
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(partial.Build(defaults.Scale(c.BufferBytes, conns))),
		rcmgr.WithAllowlistedMultiaddrs(static), rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, fmt.Errorf("p2p: limits: %w", err)
	}
	return newStreamGate(m), nil
}

// windows returns the bytes of receive windows of all connections.
func (n *Node) windows() (bytes int64) {
	h := n.Host()
	if h == nil {
		return 0
	}
	_ = h.Network().ResourceManager().ViewSystem(func(s network.ResourceScope) error { // never fails
		bytes = s.Stat().Memory
		return nil
	})
	return bytes
}

// allowable returns /ip/…/p2p/<id> of a static peer: its connections from that
// address pass where others find all places taken. Names cannot be allowed.
func allowable(a ma.Multiaddr) ma.Multiaddr {
	id, err := a.ValueForProtocol(ma.P_P2P)
	if err != nil {
		return nil
	}
	for _, p := range []struct {
		code int
		name string
	}{{ma.P_IP4, "ip4"}, {ma.P_IP6, "ip6"}} {
		if ip, err := a.ValueForProtocol(p.code); err == nil {
			bare, err := ma.NewMultiaddr("/" + p.name + "/" + ip + "/p2p/" + id)
			if err == nil {
				return bare
			}
		}
	}
	return nil
}

// trimmer closes connections beyond MaxPeers, those of static peers never.
func (c Config) trimmer() (*connmgr.BasicConnMgr, error) {
	m, err := connmgr.NewConnManager(max(c.MaxPeers*3/4, 1), c.MaxPeers)
	if err != nil {
		return nil, fmt.Errorf("p2p.max_peers is %d: %w", c.MaxPeers, err)
	}
	return m, nil
}
