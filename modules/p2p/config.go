package p2p

import (
	"fmt"

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
}

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
