package execution_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/tandem-node/tandem/modules/block"
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

// rotating is Rotating with the life cycle of what it stands before.
type rotating struct {
	executiontest.Rotating
	execution.Lifecycle
}

// An executor that names proposers keeps the contract.
func TestContractOfRotation(t *testing.T) {
	executiontest.Suite{
		Open: func(t *testing.T, dir string) execution.Executor {
			t.Helper()
			kv := execution.NewKV(execution.Default(), dir, zaptest.NewLogger(t))
			return rotating{executiontest.Rotating{Complete: kv}, kv}
		},
		Txs: func(height uint64) [][]byte {
			txs := executiontest.DefaultTxs(height)
			if height%3 == 0 {
				address := block.Sum(fmt.Append(nil, height))
				txs = append(txs, executiontest.RotateTx(address[:]))
			}
			return txs
		},
	}.Run(t)
}

func TestMain(m *testing.M) {
	// goleveldb's pool drainer lives 30 s longer than its database.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
