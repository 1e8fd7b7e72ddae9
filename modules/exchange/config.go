package exchange

import (
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Config bounds an exchange. Sizes are in bytes and hold per kind.
type Config struct {
	// RequestTimeout ends a request that makes no progress for this long.
	RequestTimeout time.Duration `koanf:"request_timeout"`
	// InFlight is the most requests under way at once.
	InFlight int `koanf:"in_flight"`
	// QueueBytes bounds what was fetched and not yet appended. When it is
	// reached no more is requested.
	QueueBytes int `koanf:"queue_bytes"`
	// ParkHeights and ParkBytes bound gossip that arrived ahead of its turn. The
	// items farthest ahead give way and are fetched by range later.
	ParkHeights int `koanf:"park_heights"`
	ParkBytes   int `koanf:"park_bytes"`
	// GossipBytes and GossipPeerBytes bound gossip under check, over all and per
	// peer. More is ignored.
	GossipBytes     int `koanf:"gossip_bytes"`
	GossipPeerBytes int `koanf:"gossip_peer_bytes"`
	// QuarantineBytes and QuarantinePeerBytes bound gossiped data whose header is not
	// there yet, over all and per peer. What is farthest ahead of the peer that holds
	// most gives way.
	QuarantineBytes     int `koanf:"quarantine_bytes"`
	QuarantinePeerBytes int `koanf:"quarantine_peer_bytes"`
	// DataWait is how long gossiped data waits for its header.
	DataWait time.Duration `koanf:"data_wait"`
	// Grace is how long a small gap waits for gossip before it is requested.
	Grace time.Duration `koanf:"grace"`
	// Settle is how long after the last gossip one peer is asked whether that was
	// all: gossip may lose the last message too.
	Settle time.Duration `koanf:"settle"`
	// RetryMin and RetryMax bound the back-off from a peer that failed.
	RetryMin time.Duration `koanf:"retry_min"`
	RetryMax time.Duration `koanf:"retry_max"`
	// Serve is the most requests answered at once; more wait. ServePeer is the most
	// streams of one peer; more are refused.
	Serve     int `koanf:"serve"`
	ServePeer int `koanf:"serve_peer"`
	// ServeBytes bounds the answers under way, in parts for the peers that are
	// served. Requests beyond get shorter answers, of one item at least.
	ServeBytes int `koanf:"serve_bytes"`
	// ServeRate bounds the bytes per second given to one peer. Its next request waits.
	ServeRate int `koanf:"serve_rate"`
	// ServeTimeout ends an answer that makes no progress for this long.
	ServeTimeout time.Duration `koanf:"serve_timeout"`
	// ResponseBytes caps an answer, given or taken; one item always fits.
	ResponseBytes int `koanf:"response_bytes"`
}

// Default returns the configuration that fits most nodes.
func Default() Config {
	return Config{
		RequestTimeout:      8 * time.Second,
		InFlight:            16,
		QueueBytes:          64 << 20,
		ParkHeights:         512,
		ParkBytes:           16 << 20,
		GossipBytes:         64 << 20,
		GossipPeerBytes:     32 << 20,
		QuarantineBytes:     64 << 20,
		QuarantinePeerBytes: 32 << 20,
		DataWait:            2 * time.Second,
		Grace:               100 * time.Millisecond,
		Settle:              2 * time.Second,
		RetryMin:            200 * time.Millisecond,
		RetryMax:            10 * time.Second,
		Serve:               32,
		ServePeer:           24,
		ServeBytes:          64 << 20,
		ServeRate:           128 << 20,
		ServeTimeout:        10 * time.Second,
		ResponseBytes:       8 << 20,
	}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	for _, d := range []struct {
		key string
		val time.Duration
	}{
		{"request_timeout", c.RequestTimeout},
		{"data_wait", c.DataWait},
		{"settle", c.Settle},
		{"retry_min", c.RetryMin},
		{"retry_max", c.RetryMax},
		{"serve_timeout", c.ServeTimeout},
	} {
		if d.val <= 0 {
			return fmt.Errorf("%s is %s, want more than 0", d.key, d.val)
		}
	}
	for _, n := range []struct {
		key string
		val int
	}{
		{"in_flight", c.InFlight},
		{"queue_bytes", c.QueueBytes},
		{"park_heights", c.ParkHeights},
		{"park_bytes", c.ParkBytes},
		{"serve", c.Serve},
		{"serve_peer", c.ServePeer},
		{"serve_bytes", c.ServeBytes},
		{"serve_rate", c.ServeRate},
		{"response_bytes", c.ResponseBytes},
	} {
		if n.val <= 0 {
			return fmt.Errorf("%s is %d, want at least 1", n.key, n.val)
		}
	}
	switch {
	case c.Grace < 0:
		return fmt.Errorf("grace is %s, want at least 0", c.Grace)
	case c.RetryMax < c.RetryMin:
		return fmt.Errorf("retry_max is %s, want at least retry_min, %s", c.RetryMax, c.RetryMin)
	}
	return c.validateShares()
}

// leastShare has room for the largest message of gossip, as it came and decoded.
const leastShare = 2 * (block.MaxBlobBytes + 64<<10)

// validateShares checks that one item fits wherever one may have to wait.
func (c Config) validateShares() error {
	for _, n := range []struct {
		key        string
		val, share int
		shareKey   string
	}{
		{"gossip_bytes", c.GossipBytes, c.GossipPeerBytes, "gossip_peer_bytes"},
		{"quarantine_bytes", c.QuarantineBytes, c.QuarantinePeerBytes, "quarantine_peer_bytes"},
	} {
		switch {
		case n.share < leastShare:
			return fmt.Errorf("%s is %d, want at least %d, one item twice", n.shareKey, n.share, leastShare)
		case n.val < n.share:
			return fmt.Errorf("%s is %d, want at least %s, %d", n.key, n.val, n.shareKey, n.share)
		}
	}
	return nil
}
