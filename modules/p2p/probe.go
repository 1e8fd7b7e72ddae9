package p2p

import (
	"context"
	"fmt"
	"net"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// probePorts fails when another process listens on one of the addresses. libp2p
// shares ports (SO_REUSEPORT), so without this a second node on the machine
// would start and take every other connection of the first.
func probePorts(ctx context.Context, addresses []string) error {
	for _, text := range addresses {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("p2p.listen_addresses: %q: %w", text, err)
		}
		network, at, err := dialArgs(a)
		if err != nil {
			continue // not an IP address: nothing to probe
		}
		if err := probe(ctx, network, at); err != nil {
			return fmt.Errorf("p2p.listen_addresses: cannot listen on %s: %w", text, err)
		}
	}
	return nil
}

// dialArgs returns network and host:port of the first two parts of an address,
// which is what the kernel knows: /ip4/…/udp/… for QUIC too.
func dialArgs(a ma.Multiaddr) (network, at string, err error) {
	if len(a) < 2 {
		return "", "", fmt.Errorf("%s has no port", a)
	}
	network, at, err = manet.DialArgs(a[:2])
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", a, err)
	}
	return network, at, nil
}

func probe(ctx context.Context, network, at string) error {
	var lc net.ListenConfig
	switch network {
	case "udp", "udp4", "udp6":
		c, err := lc.ListenPacket(ctx, network, at)
		if err != nil {
			return err //nolint:wrapcheck // the caller says what was tried
		}
		return c.Close() //nolint:wrapcheck // as above
	default:
		l, err := lc.Listen(ctx, network, at)
		if err != nil {
			return err //nolint:wrapcheck // the caller says what was tried
		}
		return l.Close() //nolint:wrapcheck // as above
	}
}
