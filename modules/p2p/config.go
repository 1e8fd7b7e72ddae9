package p2p

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Config of the host.
type Config struct {
	// ListenAddresses are multiaddrs; port 0 takes a free one.
	ListenAddresses []string `koanf:"listen_addresses"`
	// Peers are static peers, multiaddrs that end in /p2p/<id>.
	Peers []string `koanf:"peers"`
	// BlockedPeers never connect: peer ids or multiaddrs with one.
	BlockedPeers []string `koanf:"blocked_peers"`
	// AllowedPeers, when not empty, are the only ones that connect, beside the
	// static peers.
	AllowedPeers []string `koanf:"allowed_peers"`
	// DHT finds peers of the same chain beyond the static ones.
	DHT bool `koanf:"dht"`
	// MaxMessageBytes bounds one gossip message, envelope included.
	MaxMessageBytes int `koanf:"max_message_bytes"`
	// Disabled runs the node without peers, on DA alone.
	Disabled bool `koanf:"disabled"`

	// MaxPeers bounds the peers that may connect; peers beyond are trimmed, static
	// ones never. MaxPeerStreams bounds the open streams of one peer.
	MaxPeers       int `koanf:"max_peers"`
	MaxPeerStreams int `koanf:"max_peer_streams"`
	// BufferBytes bounds the receive windows of all connections and streams. At the
	// bound windows stop to grow and new streams are refused.
	BufferBytes int64 `koanf:"buffer_bytes"`
	// GossipPeerMessages and GossipPeerBytes are per second and per peer; what is
	// above, after a burst of twice as much, is dropped before it is looked at.
	GossipPeerMessages int `koanf:"gossip_peer_messages"`
	GossipPeerBytes    int `koanf:"gossip_peer_bytes"`
	// GossipQueueBytes bounds what waits to be sent to one peer. A peer that lets it
	// fill up is disconnected.
	GossipQueueBytes int `koanf:"gossip_queue_bytes"`
	// GossipUncheckedBytes bounds what came from peers and waits to be checked, a
	// quarter of it per peer; more is dropped.
	GossipUncheckedBytes int `koanf:"gossip_unchecked_bytes"`
	// BanTime is how long a ban lasts.
	BanTime time.Duration `koanf:"ban_time"`
	// ScoreHalfLife is the time in which a bad score is half as bad.
	ScoreHalfLife time.Duration `koanf:"score_half_life"`
}

// minBufferBytes lets a few peers work at all.
const minBufferBytes = 32 << 20

// minMessageBytes leaves room for a block of 5 MiB and its envelope.
const minMessageBytes = 5<<20 + 64<<10

// Default listens on all interfaces, port 7676, TCP and QUIC.
func Default() Config {
	return Config{
		ListenAddresses: []string{"/ip4/0.0.0.0/tcp/7676", "/ip4/0.0.0.0/udp/7676/quic-v1"},
		Peers:           []string{},
		BlockedPeers:    []string{},
		AllowedPeers:    []string{},
		DHT:             true,
		MaxMessageBytes: minMessageBytes,

		MaxPeers:             128,
		MaxPeerStreams:       256,
		BufferBytes:          512 << 20,
		GossipPeerMessages:   1000,
		GossipPeerBytes:      64 << 20,
		GossipQueueBytes:     64 << 20,
		GossipUncheckedBytes: 64 << 20,
		BanTime:              10 * time.Minute,
		ScoreHalfLife:        10 * time.Minute,
	}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	for _, a := range c.ListenAddresses {
		if _, err := ma.NewMultiaddr(a); err != nil {
			return fmt.Errorf("p2p.listen_addresses: %q is not a multiaddr like /ip4/0.0.0.0/tcp/7676: %w", a, err)
		}
	}
	for _, p := range c.Peers {
		if _, err := peer.AddrInfoFromString(p); err != nil {
			return fmt.Errorf("p2p.peers: %q is not a multiaddr that ends in /p2p/<peer id>: %w", p, err)
		}
	}
	if _, err := peerIDs(c.BlockedPeers); err != nil {
		return fmt.Errorf("p2p.blocked_peers: %w", err)
	}
	if _, err := peerIDs(c.AllowedPeers); err != nil {
		return fmt.Errorf("p2p.allowed_peers: %w", err)
	}
	if c.MaxMessageBytes < minMessageBytes {
		return fmt.Errorf("p2p.max_message_bytes is %d, want at least %d (a block of 5 MiB and its envelope)", c.MaxMessageBytes, minMessageBytes)
	}
	return c.validateLimits()
}

func (c Config) validateLimits() error {
	for _, n := range []struct {
		key        string
		val, least int
	}{
		{"max_peers", c.MaxPeers, 1},
		{"max_peer_streams", c.MaxPeerStreams, 32},
		{"gossip_peer_messages", c.GossipPeerMessages, 1},
		{"gossip_peer_bytes", c.GossipPeerBytes, c.MaxMessageBytes},
		{"gossip_queue_bytes", c.GossipQueueBytes, c.MaxMessageBytes},
		{"gossip_unchecked_bytes", c.GossipUncheckedBytes, uncheckedShare * c.MaxMessageBytes},
	} {
		if n.val < n.least {
			return fmt.Errorf("p2p.%s is %d, want at least %d", n.key, n.val, n.least)
		}
	}
	switch {
	case c.BufferBytes < minBufferBytes:
		return fmt.Errorf("p2p.buffer_bytes is %d, want at least %d", c.BufferBytes, int64(minBufferBytes))
	case c.BanTime < time.Second:
		return fmt.Errorf("p2p.ban_time is %s, want at least 1s", c.BanTime)
	case c.ScoreHalfLife < time.Second:
		return fmt.Errorf("p2p.score_half_life is %s, want at least 1s", c.ScoreHalfLife)
	}
	return nil
}

// peerIDs reads peer ids, each alone or at the end of a multiaddr.
func peerIDs(list []string) (map[peer.ID]struct{}, error) {
	ids := make(map[peer.ID]struct{}, len(list))
	for _, s := range list {
		if info, err := peer.AddrInfoFromString(s); err == nil {
			ids[info.ID] = struct{}{}
			continue
		}
		id, err := peer.Decode(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a peer id nor a multiaddr with one: %w", s, err)
		}
		ids[id] = struct{}{}
	}
	return ids, nil
}

// staticPeers reads the static peers; addresses of one id are merged.
func (c Config) staticPeers() ([]peer.AddrInfo, error) {
	addrs := make([]ma.Multiaddr, 0, len(c.Peers))
	for _, p := range c.Peers {
		a, err := ma.NewMultiaddr(p)
		if err != nil {
			return nil, fmt.Errorf("p2p.peers: %q: %w", p, err)
		}
		addrs = append(addrs, a)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil, fmt.Errorf("p2p.peers: %w", err)
	}
	return infos, nil
}
