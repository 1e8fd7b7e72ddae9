package sequencer

import (
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Submission strategies (evolve-wire §6.6).
const (
	StrategyTime      = "time"      // at least MinItems, MaxDelay after the last submission
	StrategySize      = "size"      // once SizeThreshold of MaxBytes waits
	StrategyAdaptive  = "adaptive"  // time or size, whichever comes first
	StrategyImmediate = "immediate" // as soon as anything waits
)

// maxEnvelope is more than all bytes around the transactions of a data blob:
// metadata, signature, signer, tags and lengths.
const maxEnvelope = 1 << 10

// Config is what an operator may set.
type Config struct {
	// BlockTime is the time from one block to the next.
	BlockTime time.Duration `koanf:"block_time"`
	// Lazy makes blocks only when transactions wait, and every LazyInterval.
	Lazy         bool          `koanf:"lazy"`
	LazyInterval time.Duration `koanf:"lazy_interval"`
	// PollInterval is how often a lazy chain asks an executor that cannot notify.
	PollInterval time.Duration `koanf:"poll_interval"`
	// MaxBlockBytes bounds the transactions of a block, their framing included.
	MaxBlockBytes int `koanf:"max_block_bytes"`
	// MaxQueueBytes bounds transactions taken from the mempool and not yet in a
	// block, as they lie in memory. Only an executor that returns more than it was asked for reaches it.
	MaxQueueBytes int `koanf:"max_queue_bytes"`
	// MaxPending is the number of blocks not yet read back from DA at which
	// production pauses; 0 never pauses.
	MaxPending uint64 `koanf:"max_pending"`
	// ExecuteTries is how often a block is tried before the node stops; the
	// waits in between double from RetryDelay to RetryMaxDelay.
	ExecuteTries  int           `koanf:"execute_tries"`
	RetryDelay    time.Duration `koanf:"retry_delay"`
	RetryMaxDelay time.Duration `koanf:"retry_max_delay"`
	// BroadcastTimeout bounds the gossip of one block.
	BroadcastTimeout time.Duration `koanf:"broadcast_timeout"`
	// StartGrace is how long a started node listens for blocks of its own that
	// it has lost (a restored backup) before it makes new ones.
	StartGrace time.Duration `koanf:"start_grace"`
	// AskPeers is how long answers of others are waited for after the start, before
	// the first signature. DA is read to its head however long that takes.
	AskPeers time.Duration `koanf:"ask_peers"`
	// BeginUnchecked makes blocks without asking anybody what the key has signed.
	BeginUnchecked bool `koanf:"begin_unchecked"`
	// Submit says how blocks are posted to DA.
	Submit SubmitConfig `koanf:"submit"`
}

// SubmitConfig says how blocks are posted to DA.
type SubmitConfig struct {
	// Strategy is time, size, adaptive or immediate.
	Strategy string `koanf:"strategy"`
	// MaxBytes bounds one submission, DA padding included. A single item over it
	// is still tried.
	MaxBytes int `koanf:"max_bytes"`
	// MaxDelay is the time between submissions; 0 is the DA block time.
	MaxDelay time.Duration `koanf:"max_delay"`
	// MinItems is how many items must wait before time matters.
	MinItems int `koanf:"min_items"`
	// SizeThreshold is the part of MaxBytes that starts a submission by size.
	SizeThreshold float64 `koanf:"size_threshold"`
	// DABlockTime is the DA layer's block time, 0 as it is measured from its headers:
	// the longest wait after a failure and the pace at which an unknown outcome is
	// looked for.
	DABlockTime time.Duration `koanf:"da_block_time"`
	// ReconcileHeights is how many DA heights a submission of unknown outcome has
	// to land before it is sent again.
	ReconcileHeights uint64 `koanf:"reconcile_heights"`
}

// Default returns the configuration of a chain with one block per second on
// Celestia.
func Default() Config {
	return Config{
		BlockTime:        time.Second,
		LazyInterval:     time.Minute,
		PollInterval:     time.Second,
		MaxBlockBytes:    block.MaxBlobBytes - 64<<10,
		MaxQueueBytes:    64 << 20,
		MaxPending:       10_000,
		ExecuteTries:     10,
		RetryDelay:       100 * time.Millisecond,
		RetryMaxDelay:    10 * time.Second,
		BroadcastTimeout: 5 * time.Second,
		AskPeers:         10 * time.Second,
		Submit: SubmitConfig{
			Strategy: StrategyTime, MaxBytes: block.MaxBlobBytes, MinItems: 1, SizeThreshold: 0.8,
			ReconcileHeights: 3,
		},
	}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	switch {
	case c.BlockTime <= 0:
		return invalid("block_time", c.BlockTime, "more than 0")
	case c.Lazy && c.LazyInterval <= c.BlockTime:
		return invalid("lazy_interval", c.LazyInterval, "more than block_time, "+c.BlockTime.String())
	case c.PollInterval <= 0:
		return invalid("poll_interval", c.PollInterval, "more than 0")
	case c.MaxBlockBytes <= 0 || c.MaxBlockBytes > block.MaxBlobBytes-maxEnvelope:
		return invalid("max_block_bytes", c.MaxBlockBytes, fmt.Sprintf("1 to %d", block.MaxBlobBytes-maxEnvelope))
	case c.MaxQueueBytes < 2*c.MaxBlockBytes:
		return invalid("max_queue_bytes", c.MaxQueueBytes, fmt.Sprintf("at least twice max_block_bytes, %d", 2*c.MaxBlockBytes))
	case c.ExecuteTries < 1:
		return invalid("execute_tries", c.ExecuteTries, "at least 1")
	case c.RetryDelay <= 0:
		return invalid("retry_delay", c.RetryDelay, "more than 0")
	case c.RetryMaxDelay < c.RetryDelay:
		return invalid("retry_max_delay", c.RetryMaxDelay, "at least retry_delay, "+c.RetryDelay.String())
	case c.BroadcastTimeout <= 0:
		return invalid("broadcast_timeout", c.BroadcastTimeout, "more than 0")
	case c.StartGrace < 0:
		return invalid("start_grace", c.StartGrace, "0 or more")
	case c.AskPeers < 0:
		return invalid("ask_peers", c.AskPeers, "0 or more")
	}
	return c.Submit.Validate()
}

// Validate returns one error that names the key, the value and what was expected.
func (c SubmitConfig) Validate() error {
	switch c.Strategy {
	case StrategyTime, StrategySize, StrategyAdaptive, StrategyImmediate:
	default:
		return invalid("submit.strategy", c.Strategy, "time, size, adaptive or immediate")
	}
	switch {
	case c.MaxBytes <= 0 || c.MaxBytes > block.MaxBlobBytes:
		return invalid("submit.max_bytes", c.MaxBytes, fmt.Sprintf("1 to %d", block.MaxBlobBytes))
	case c.MaxDelay < 0:
		return invalid("submit.max_delay", c.MaxDelay, "0 or more")
	case c.MinItems < 1:
		return invalid("submit.min_items", c.MinItems, "at least 1")
	case c.SizeThreshold <= 0 || c.SizeThreshold > 1:
		return invalid("submit.size_threshold", c.SizeThreshold, "more than 0, at most 1")
	case c.DABlockTime < 0:
		return invalid("submit.da_block_time", c.DABlockTime, "0 or more")
	case c.ReconcileHeights < 1:
		return invalid("submit.reconcile_heights", c.ReconcileHeights, "at least 1")
	}
	return nil
}

// delay returns the wanted time between submissions.
func (c SubmitConfig) delay() time.Duration {
	if c.MaxDelay == 0 {
		return c.DABlockTime
	}
	return c.MaxDelay
}

func invalid(key string, value any, want string) error {
	return fmt.Errorf("sequencer.%s is %v, want %s", key, value, want)
}
