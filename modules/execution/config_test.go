package execution

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/telemetry/problems"
)

func TestConfig(t *testing.T) {
	require.NoError(t, Default().Validate())
	for want, change := range map[string]func(*Config){
		`name is "evm", want one of evolve-kv, kv, noop`:        func(c *Config) { c.Name = "evm" },
		`keep_versions is 1, want at least 8`:                   func(c *Config) { c.KeepVersions = 1 },
		`keep_unfinal is 99, want at least keep_versions (256)`: func(c *Config) { c.KeepUnfinal = 99 },
		`cache_bytes is 0, want at least 1048576`:               func(c *Config) { c.CacheBytes = 0 },
		`mempool.max_tx_bytes is 0, want at least 1`:            func(c *Config) { c.Mempool.MaxTxBytes = 0 },
		`mempool.max_txs is 0, want at least 1`:                 func(c *Config) { c.Mempool.MaxTxs = 0 },
		`mempool.max_bytes is 5, want at least 4500144`:         func(c *Config) { c.Mempool.MaxBytes = 5 },
	} {
		c := Default()
		change(&c)
		require.EqualError(t, c.Validate(), want)
	}
	_, err := New(Config{Name: "evm"}, "", zap.NewNop())
	require.EqualError(t, err, `unknown executor "evm", want one of evolve-kv, kv, noop`)
}

func TestModule(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second one opens what the first one closed
		var exec Executor
		app := fxtest.New(t, Module(), fx.Supply(Default(), Dir(dir), zaptest.NewLogger(t), leveldb.Default()), leveldb.Module(), fx.Provide(problems.New), fx.Populate(&exec), fx.NopLogger)
		app.RequireStart()
		_, err := exec.InitChain(t.Context(), testGenesis(1))
		require.NoError(t, err)

		second := NewKV(Default(), dir, zap.NewNop())
		require.ErrorContains(t, second.Open(t.Context()), dir, "one process at a time")
		app.RequireStop()
	}
}
