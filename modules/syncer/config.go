package syncer

import (
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/notifier"
)

// Config holds what may be tuned.
type Config struct {
	// MaxBlocks is the most blocks of one fetch. Their bytes are bounded by the
	// sources, which return less than asked for when it would be too much. Far
	// behind, two fetches are in memory: one with the sink, one read ahead.
	MaxBlocks int `koanf:"max_blocks"`
	// EventBuffer is how many unread events each of the two subscriptions holds,
	// at 96 bytes each. Beyond that the oldest are dropped, which costs nothing.
	EventBuffer int `koanf:"event_buffer"`
	// RetryMin and RetryMax bound the wait after a failure; it doubles from one
	// to the other.
	RetryMin time.Duration `koanf:"retry_min"`
	RetryMax time.Duration `koanf:"retry_max"`
}

// Default returns the configuration for every role.
func Default() Config {
	return Config{MaxBlocks: 512, EventBuffer: notifier.DefaultBuffer, RetryMin: 100 * time.Millisecond, RetryMax: 5 * time.Second}
}

// Validate names the first key that cannot be used.
func (c Config) Validate() error {
	switch {
	case c.MaxBlocks < 1:
		return fmt.Errorf("max_blocks is %d, want at least 1", c.MaxBlocks)
	case c.EventBuffer < 1:
		return fmt.Errorf("event_buffer is %d, want at least 1", c.EventBuffer)
	case c.RetryMin <= 0:
		return fmt.Errorf("retry_min is %s, want more than 0s", c.RetryMin)
	case c.RetryMax < c.RetryMin:
		return fmt.Errorf("retry_max is %s, want at least retry_min (%s)", c.RetryMax, c.RetryMin)
	}
	return nil
}
