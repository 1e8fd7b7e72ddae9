package chainstore

import "fmt"

// Config says how much memory reads may take and when writes reach the disk.
type Config struct {
	// CacheBytes bounds the newest items kept decoded, headers and data together.
	CacheBytes int `koanf:"cache_bytes"`
	// MaxRangeBytes bounds the items one range read returns; the first item is
	// returned whatever its size.
	MaxRangeBytes int `koanf:"max_range_bytes"`
	// Sync makes every Append and Commit reach the disk before it returns. A
	// sequencer needs it; a follower can fetch again what a power cut took.
	Sync bool `koanf:"sync"`
}

// Default returns the configuration of nodes that do not produce blocks.
func Default() Config { return Config{CacheBytes: 16 << 20, MaxRangeBytes: 8 << 20} }

// Validate names the first key that cannot be used.
func (c Config) Validate() error {
	switch {
	case c.CacheBytes < 0:
		return fmt.Errorf("cache_bytes is %d, want 0 or more", c.CacheBytes)
	case c.MaxRangeBytes < 1:
		return fmt.Errorf("max_range_bytes is %d, want at least 1", c.MaxRangeBytes)
	}
	return nil
}
