package execution

import (
	"fmt"
	"strings"
)

// Config chooses and bounds the executor.
type Config struct {
	// Name is one of Names().
	Name string `koanf:"name"`
	// KeepVersions is how many of the last blocks with transactions can be rolled back
	// at least; those above the final height always can, up to KeepUnfinal.
	KeepVersions int `koanf:"keep_versions"`
	// KeepUnfinal bounds them when blocks do not become final.
	KeepUnfinal int `koanf:"keep_unfinal"`
	// CacheBytes bounds the state kept in memory by "kv".
	CacheBytes int `koanf:"cache_bytes"`
	// Mempool bounds the waiting transactions.
	Mempool MempoolConfig `koanf:"mempool"`
}

// MempoolConfig bounds the waiting transactions.
type MempoolConfig struct {
	MaxBytes   int `koanf:"max_bytes"`    // all waiting transactions together, as they lie in memory
	MaxTxs     int `koanf:"max_txs"`      // number of waiting transactions
	MaxTxBytes int `koanf:"max_tx_bytes"` // one transaction
}

// Default returns the configuration of a new node.
func Default() Config {
	return Config{
		Name:         NameKV,
		KeepVersions: 256,
		KeepUnfinal:  10_000,
		CacheBytes:   64 << 20,
		Mempool:      MempoolConfig{MaxBytes: 64 << 20, MaxTxs: 200_000, MaxTxBytes: 4_500_000},
	}
}

// Validate returns one error that names the key, the value and what was expected.
func (c Config) Validate() error {
	if _, ok := builtins()[c.Name]; !ok {
		return fmt.Errorf("name is %q, want one of %s", c.Name, strings.Join(Names(), ", "))
	}
	if c.KeepUnfinal < c.KeepVersions {
		return fmt.Errorf("keep_unfinal is %d, want at least keep_versions (%d)", c.KeepUnfinal, c.KeepVersions)
	}
	for _, b := range []struct {
		key       string
		have, min int
	}{
		{"keep_versions", c.KeepVersions, minKeep},
		{"cache_bytes", c.CacheBytes, 1 << 20},
		{"mempool.max_tx_bytes", c.Mempool.MaxTxBytes, 1},
		{"mempool.max_bytes", c.Mempool.MaxBytes, c.Mempool.MaxTxBytes + txOverhead},
		{"mempool.max_txs", c.Mempool.MaxTxs, 1},
	} {
		if b.have < b.min {
			return fmt.Errorf("%s is %d, want at least %d", b.key, b.have, b.min)
		}
	}
	return nil
}

// minKeep leaves room between the newest version and the ones being pruned.
const minKeep = 8
