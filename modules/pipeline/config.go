package pipeline

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Config bounds how many blocks share one commit.
type Config struct {
	// HeadersOnly verifies headers and follows finality by header alone: nothing
	// is executed. The role sets it, not the operator.
	HeadersOnly bool `koanf:"-"`
	// Sync makes every commit reach the disk before it counts. Blocks produced
	// here always do.
	Sync bool `koanf:"sync"`
	// GroupBlocks, GroupBytes and GroupTime end a group of blocks that arrived
	// together: by number, by encoded size, by time spent executing them.
	GroupBlocks int           `koanf:"group_blocks"`
	GroupBytes  int           `koanf:"group_bytes"`
	GroupTime   time.Duration `koanf:"group_time"`
	// Conflict is the policy for a proposer that signs two headers of a height.
	Conflict Policy `koanf:"conflict"`
	// Refuted is the policy for a header that execution refutes.
	Refuted RefutedPolicy `koanf:"refuted"`
	// Proposers are addresses (32 bytes in hex) that a node which executes nothing
	// takes blocks of, beside the genesis proposer. Others learn them from the state.
	Proposers []string `koanf:"proposers"`
}

// proposers returns the addresses; Validate has checked them.
func (c Config) proposers() [][]byte {
	out := make([][]byte, 0, len(c.Proposers))
	for _, text := range c.Proposers {
		if address, err := hex.DecodeString(text); err == nil {
			out = append(out, address)
		}
	}
	return out
}

// Default returns limits that keep a commit below a few megabytes and the
// applied head no more than a moment behind the executor.
func Default() Config {
	return Config{GroupBlocks: 256, GroupBytes: 8 << 20, GroupTime: 200 * time.Millisecond, Conflict: PolicyAuto, Refuted: RefutedWait, Proposers: []string{}}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	switch {
	case c.GroupBlocks < 1:
		return fmt.Errorf("pipeline.group_blocks is %d, want at least 1", c.GroupBlocks)
	case c.GroupBytes < 1:
		return fmt.Errorf("pipeline.group_bytes is %d, want at least 1", c.GroupBytes)
	case c.GroupTime <= 0:
		return fmt.Errorf("pipeline.group_time is %s, want more than 0", c.GroupTime)
	case c.Conflict != PolicyAuto && c.Conflict != PolicyFollowDA && c.Conflict != PolicyHalt:
		return fmt.Errorf("pipeline.conflict is %q, want %s, %s or %s", c.Conflict, PolicyAuto, PolicyFollowDA, PolicyHalt)
	case c.Refuted != RefutedWait && c.Refuted != RefutedHalt:
		return fmt.Errorf("pipeline.refuted is %q, want %s or %s", c.Refuted, RefutedWait, RefutedHalt)
	}
	for _, text := range c.Proposers {
		if address, err := hex.DecodeString(text); err != nil || len(address) != block.HashSize {
			return fmt.Errorf("pipeline.proposers has %q, want addresses of %d bytes in hex", text, block.HashSize)
		}
	}
	return nil
}
