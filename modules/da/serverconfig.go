package da

import (
	"fmt"
	"net"
	"time"
)

// Outage is a way in which the local server does not answer. Blocks go on being made.
type Outage string

// Ways not to answer.
const (
	// OutageNone answers.
	OutageNone Outage = "none"
	// OutageRefuse closes the listener and all connections: new ones are refused.
	OutageRefuse Outage = "refuse"
	// OutageDrop takes connections and requests and closes them without an answer.
	OutageDrop Outage = "drop"
	// OutageHang takes requests and never answers.
	OutageHang Outage = "hang"
)

// ServerConfig is the local DA server.
type ServerConfig struct {
	// Listen is host:port; port 0 takes any free one. Empty serves no network,
	// only the Client of this process.
	Listen string `koanf:"listen"`
	// Dir keeps the chain. Empty keeps it in memory.
	Dir string `koanf:"dir"`
	// ChainID is in every header.
	ChainID string `koanf:"chain_id"`
	// BlockTime is the time from block to block.
	BlockTime time.Duration `koanf:"block_time"`
	// AuthToken is the bearer token that may read and write. Empty allows everyone.
	AuthToken string `koanf:"auth_token"`
	// EvNodeCompat answers as the mock of ev-node does where the client of ev-node
	// v1.2.3 needs it and a real node differs: there are no blobs at height 0,
	// where that node begins to read, and the header methods send numbers.
	EvNodeCompat bool `koanf:"ev_node_compat"`
	// Latency is added to every call.
	Latency time.Duration `koanf:"latency"`
	// Outage is none, refuse, drop or hang.
	Outage Outage `koanf:"outage"`
	// Freeze makes no blocks, as a halted DA chain.
	Freeze bool `koanf:"freeze"`
	// PruneBelow forgets the blocks below this height.
	PruneBelow uint64 `koanf:"prune_below"`
	// FailRate is the share of calls that fail, 0 to 1.
	FailRate float64 `koanf:"fail_rate"`
	// FailMethod limits FailRate to one method, such as blob.Submit.
	FailMethod string `koanf:"fail_method"`
}

// DefaultServer returns a healthy server on the usual port of a DA node, with
// blocks every second.
func DefaultServer() ServerConfig {
	return ServerConfig{
		Listen:    "127.0.0.1:26658",
		ChainID:   "tandem-da",
		BlockTime: time.Second,
		Outage:    OutageNone,
	}
}

// MinBlockTime keeps a typing error from making a million blocks, and the head from
// running away faster than a Pool believes.
const MinBlockTime = leastInterval

// Validate returns the first problem, with the key, the value and what was expected.
func (c ServerConfig) Validate() error {
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("da_server.listen is %q, want host:port", c.Listen)
		}
	}
	switch {
	case c.ChainID == "":
		return fmt.Errorf("da_server.chain_id is %q, want a name", c.ChainID)
	case c.BlockTime < MinBlockTime:
		return fmt.Errorf("da_server.block_time is %s, want at least %s", c.BlockTime, MinBlockTime)
	case c.Latency < 0:
		return fmt.Errorf("da_server.latency is %s, want 0s or more", c.Latency)
	case c.FailRate < 0 || c.FailRate > 1:
		return fmt.Errorf("da_server.fail_rate is %v, want 0 to 1", c.FailRate)
	case !c.Outage.known():
		return fmt.Errorf("da_server.outage is %q, want none, refuse, drop or hang", c.Outage)
	}
	return nil
}

// known tells whether the outage is one of the constants; empty counts as none.
func (o Outage) known() bool {
	switch o {
	case "", OutageNone, OutageRefuse, OutageDrop, OutageHang:
		return true
	default:
		return false
	}
}

// orNone gives the empty outage its name.
func (o Outage) orNone() Outage {
	if o == "" {
		return OutageNone
	}
	return o
}
