package syncer

import (
	"fmt"
	"time"
)

// Config holds what may be tuned.
type Config struct {
	// MaxBlocks is the most blocks of one fetch. Their bytes are bounded by the
	// sources, which return less than asked for when it would be too much.
	MaxBlocks int `koanf:"max_blocks"`
	// RetryMin and RetryMax bound the wait after a failure; it doubles from one
	// to the other.
	RetryMin time.Duration `koanf:"retry_min"`
	RetryMax time.Duration `koanf:"retry_max"`
}

// Default returns the configuration for every role.
func Default() Config {
	return Config{MaxBlocks: 512, RetryMin: 100 * time.Millisecond, RetryMax: 5 * time.Second}
}

// Validate names the first key that cannot be used.
func (c Config) Validate() error {
	switch {
	case c.MaxBlocks < 1:
		return fmt.Errorf("max_blocks is %d, want at least 1", c.MaxBlocks)
	case c.RetryMin <= 0:
		return fmt.Errorf("retry_min is %s, want more than 0s", c.RetryMin)
	case c.RetryMax < c.RetryMin:
		return fmt.Errorf("retry_max is %s, want at least retry_min (%s)", c.RetryMax, c.RetryMin)
	}
	return nil
}
