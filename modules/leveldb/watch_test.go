package leveldb_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// A write that fails is a problem of the node, said once, until the disk takes
// writes again: then the watch ends, and with it the node, to be started again.
func TestWatchEndsWhenTheDiskIsBack(t *testing.T) {
	for _, tt := range []struct {
		cause        error
		kind         problems.Kind
		text, advice string
	}{
		{syscall.ENOSPC, problems.Disk, "no space left on device", "make room"},
		{syscall.EMFILE, problems.Descriptors, "too many open files", "ulimit -n"},
		{syscall.ENFILE, problems.Descriptors, "too many open files in system", "ulimit -n"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := fmt.Errorf("write: %w", tt.cause)
				f := &faulty{Storage: storage.NewMemStorage(), write: disk}
				cfg := small()
				cfg.Path = filepath.Join(t.TempDir(), "missing") // where nothing can be written yet
				core, logs := observer.New(zap.DebugLevel)
				board := problems.New()
				w := leveldb.NewWatch(board, zap.New(core))
				ended := make(chan error, 1)
				go func() { ended <- w.Run(t.Context()) }()
				db := leveldb.New(cfg, leveldb.OnDisk(onStorage{f}), leveldb.Watched(w))
				require.NoError(t, db.Open())
				require.NoError(t, w.Failed())
				for range 5 {
					var b leveldb.Batch
					b.Delete([]byte("k"))
					require.ErrorIs(t, db.Write(&b, false), disk)
				}
				require.ErrorIs(t, w.Failed(), disk)
				require.Equal(t, 1, logs.FilterLevelExact(zap.ErrorLevel).Len())
				require.Len(t, board.List(), 1)
				require.Equal(t, tt.kind, board.List()[0].Kind)
				require.True(t, board.List()[0].Unready)
				require.Contains(t, board.List()[0].Reason, tt.text)
				require.Contains(t, board.List()[0].Reason, tt.advice)

				time.Sleep(time.Hour)
				require.Empty(t, ended)
				require.NoError(t, os.Mkdir(cfg.Path, 0o750))
				err := <-ended
				require.ErrorIs(t, err, disk)
				require.ErrorContains(t, err, "start the node again")
				left, err := os.ReadDir(cfg.Path)
				require.NoError(t, err)
				require.Empty(t, left, "the probe is removed")
				require.NoError(t, db.Close())
				time.Sleep(time.Minute) // goleveldb's pool is there for half of one
			})
		})
	}
}

func TestWatchStopsWhenAskedTo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, leveldb.NewWatch(nil, zap.NewNop()).Run(ctx), context.Canceled)
}

// onStorage is a disk with one database.
type onStorage struct{ storage.Storage }

func (s onStorage) Open(string) (storage.Storage, error) { return s.Storage, nil }
