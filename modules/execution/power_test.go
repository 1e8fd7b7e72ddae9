package execution

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil/powerdisk"
)

// eachKept runs a test for the executors that are kept on disk.
func eachKept(t *testing.T, test func(t *testing.T, open func(*powerdisk.Disk) Executor)) {
	t.Helper()
	for _, name := range []string{NameKV, NameEvolveKV} {
		t.Run(name, func(t *testing.T) {
			test(t, func(disk *powerdisk.Disk) Executor {
				cfg := Default()
				cfg.Name = name
				e, err := New(cfg, "executor", zap.NewNop(), leveldb.OnDisk(disk))
				require.NoError(t, err)
				return e
			})
		})
	}
}

func begin(t *testing.T, e Executor) []byte {
	t.Helper()
	require.NoError(t, e.(Lifecycle).Open(t.Context()))
	root, err := e.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	return root
}

// A rollback takes back what was final above it, and is on the disk when it returns:
// what is executed next may be another chain.
func TestRollbackSurvivesAPowerCut(t *testing.T) {
	eachKept(t, func(t *testing.T, open func(*powerdisk.Disk) Executor) {
		t.Helper()
		disk := powerdisk.New(1, powerdisk.Synced)
		e := open(disk)
		begin(t, e)
		roots := map[uint64][]byte{}
		for h, tx := range []string{"a=1", "b=2", "no write", "c=3", "d=4"} {
			roots[uint64(h)+1] = execute(t, e, uint64(h)+1, tx)
		}
		require.NoError(t, e.SetFinal(t.Context(), 5))
		require.NoError(t, e.(Lifecycle).Close()) // all of it is on the disk
		for _, to := range []uint64{4, 3, 2} {    // 3 is a rollback of a counter alone
			e = open(disk)
			begin(t, e)
			require.NoError(t, e.(Rollbacker).Rollback(t.Context(), to))
			disk.Cut()
			_ = e.(Lifecycle).Close() // without power
			disk.Restart()
			e = open(disk)
			begin(t, e)
			height, err := e.(HeightProvider).LatestHeight(t.Context())
			require.NoError(t, err)
			require.Equal(t, to, height)
			final, err := e.(FinalProvider).FinalHeight(t.Context())
			require.NoError(t, err)
			require.Equal(t, to, final, "nothing above a rollback is final")
			root, err := e.(RootProvider).StateRoot(t.Context())
			require.NoError(t, err)
			require.Equal(t, roots[to], root)
			require.NoError(t, e.(Lifecycle).Close())
		}
	})
}

// A reset leaves an executor that was never used, wherever the power fails in it.
func TestResetSurvivesAPowerCut(t *testing.T) {
	eachKept(t, func(t *testing.T, open func(*powerdisk.Disk) Executor) {
		t.Helper()
		for at := 1; ; at++ {
			disk := powerdisk.New(uint64(at), powerdisk.Torn)
			e := open(disk)
			genesis := begin(t, e)
			for h := uint64(1); h <= 40; h++ {
				execute(t, e, h, "a=1", "b=2")
			}
			root := execute(t, e, 41, "c=3")
			require.NoError(t, e.(Lifecycle).Close())
			e = open(disk)
			begin(t, e)
			disk.CutAfter(at)
			err := e.(Resetter).Reset(t.Context())
			whole := !disk.Off()
			require.Equal(t, whole, err == nil)
			disk.Cut()
			_ = e.(Lifecycle).Close() // without power
			disk.Restart()
			e = open(disk)
			require.Equal(t, string(genesis), string(begin(t, e)))
			have, err := e.(RootProvider).StateRoot(t.Context())
			require.NoError(t, err)
			if string(have) != string(root) || whole {
				require.Equal(t, string(genesis), string(have))
				height, err := e.(HeightProvider).LatestHeight(t.Context())
				require.NoError(t, err)
				require.Zero(t, height)
				for h := uint64(1); h <= 40; h++ {
					execute(t, e, h, "a=1", "b=2")
				}
				require.Equal(t, root, execute(t, e, 41, "c=3"))
			}
			require.NoError(t, e.(Lifecycle).Close())
			if whole {
				break
			}
		}
	})
}
