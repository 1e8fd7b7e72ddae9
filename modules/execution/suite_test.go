package execution_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/execution/executiontest"
)

func TestContract(t *testing.T) {
	for _, name := range execution.Names() {
		t.Run(name, func(t *testing.T) {
			executiontest.Run(t, func(t *testing.T, dir string) execution.Executor {
				t.Helper()
				cfg := execution.Default()
				cfg.Name = name
				require.NoError(t, cfg.Validate())
				exec, err := execution.New(cfg, dir, zaptest.NewLogger(t))
				require.NoError(t, err)
				return exec
			})
		})
	}
}

func TestMain(m *testing.M) {
	// goleveldb's pool drainer lives 30 s longer than its database.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
