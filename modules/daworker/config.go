package daworker

import (
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Config of the worker.
type Config struct {
	// PollInterval is how often the head is asked for; 0 is the DA block time, as
	// measured from its headers.
	PollInterval time.Duration `koanf:"poll_interval"`
	// Watch subscribes to the head stream of the endpoint, when it has one.
	Watch bool `koanf:"watch"`
	// InFlight is how many DA heights are asked for at once to begin with.
	InFlight int `koanf:"in_flight"`
	// MaxInFlight is how far InFlight may grow while answers are waited for.
	MaxInFlight int `koanf:"max_in_flight"`
	// PrefetchBytes bounds what was read ahead and not handed over yet.
	PrefetchBytes int `koanf:"prefetch_bytes"`
	// PendingBytes bounds what the proposer signed and still waits for its other half.
	PendingBytes int `koanf:"pending_bytes"`
	// QuarantineBytes bounds what others posted and may still turn out to be needed.
	QuarantineBytes int `koanf:"quarantine_bytes"`
}

// Default returns the configuration of a node with nothing configured.
func Default() Config {
	return Config{
		Watch: true, InFlight: 16, MaxInFlight: 128,
		PrefetchBytes: 64 << 20, PendingBytes: 64 << 20, QuarantineBytes: 16 << 20,
	}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	const least = 2 * block.MaxBlobBytes
	switch {
	case c.PollInterval != 0 && c.PollInterval < 10*time.Millisecond:
		return fmt.Errorf("poll_interval is %s, want at least 10ms, or 0s for the DA block time", c.PollInterval)
	case c.InFlight < 1 || c.InFlight > 1024:
		return fmt.Errorf("in_flight is %d, want 1 to 1024", c.InFlight)
	case c.MaxInFlight < c.InFlight || c.MaxInFlight > 1024:
		return fmt.Errorf("max_in_flight is %d, want in_flight (%d) to 1024", c.MaxInFlight, c.InFlight)
	case c.PrefetchBytes < least:
		return fmt.Errorf("prefetch_bytes is %d, want at least %d (two blobs)", c.PrefetchBytes, least)
	case c.PendingBytes < least:
		return fmt.Errorf("pending_bytes is %d, want at least %d (two blobs)", c.PendingBytes, least)
	case c.QuarantineBytes < least:
		return fmt.Errorf("quarantine_bytes is %d, want at least %d (two blobs)", c.QuarantineBytes, least)
	}
	return nil
}
