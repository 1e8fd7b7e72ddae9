package leveldb_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// pinned is the goleveldb other long-lived nodes hold too. The tag before it
// lacks an fsync of the manifest, and later commits are avoided by all of them.
const pinned = "v1.0.1-0.20210819022825-2ae1ddf74ef7"

func TestGoleveldbStaysPinned(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	require.Contains(t, string(mod), "github.com/syndtr/goleveldb "+pinned)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/syndtr/goleveldb" {
				require.Nil(t, dep.Replace)
				require.Equal(t, pinned, dep.Version)
			}
		}
	}
}

func config(t *testing.T) leveldb.Config {
	t.Helper()
	cfg := leveldb.Default()
	cfg.Path = filepath.Join(t.TempDir(), "sub", "db")
	return cfg
}

func opened(t *testing.T, db *leveldb.DB) *leveldb.DB {
	t.Helper()
	require.NoError(t, db.Open())
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// both runs a test on disk and in memory.
func both(t *testing.T, test func(t *testing.T, db *leveldb.DB)) {
	t.Helper()
	t.Run("disk", func(t *testing.T) { test(t, leveldb.New(config(t))) })
	t.Run("memory", func(t *testing.T) { test(t, leveldb.NewMemory()) })
}

func put(t *testing.T, db *leveldb.DB, kv ...string) {
	t.Helper()
	var b leveldb.Batch
	for i := 0; i < len(kv); i += 2 {
		b.Put([]byte(kv[i]), []byte(kv[i+1]))
	}
	require.NoError(t, db.Write(&b, false))
}

func TestValuesStayOverReopen(t *testing.T) {
	both(t, func(t *testing.T, db *leveldb.DB) {
		t.Helper()
		require.NoError(t, db.Open())
		require.Error(t, db.Open(), "a second Open of the same database")
		put(t, db, "a", "1", "b", "2")
		require.NoError(t, db.Close())
		require.NoError(t, db.Close(), "a second Close")

		opened(t, db)
		v, err := db.Get([]byte("a"))
		require.NoError(t, err)
		require.Equal(t, "1", string(v))
		_, err = db.Get([]byte("z"))
		require.ErrorIs(t, err, leveldb.ErrNotFound)
		has, err := db.Has([]byte("b"))
		require.NoError(t, err)
		require.True(t, has)
	})
}

func TestClosedDatabaseSaysSo(t *testing.T) {
	both(t, func(t *testing.T, db *leveldb.DB) {
		t.Helper()
		check := func() {
			_, err := db.Get([]byte("a"))
			require.ErrorIs(t, err, leveldb.ErrClosed)
			_, err = db.Has([]byte("a"))
			require.ErrorIs(t, err, leveldb.ErrClosed)
			require.ErrorIs(t, db.Write(&leveldb.Batch{}, true), leveldb.ErrClosed)
			it := db.NewIterator(nil, nil)
			require.False(t, it.Next())
			require.ErrorIs(t, it.Err(), leveldb.ErrClosed)
			it.Close()
		}
		check()
		require.NoError(t, db.Open())
		require.NoError(t, db.Close())
		check()
	})
}

func TestBatchIsReusable(t *testing.T) {
	db := opened(t, leveldb.NewMemory())
	var b leveldb.Batch
	b.Put([]byte("a"), []byte("1"))
	b.Delete([]byte("b"))
	require.Equal(t, 2, b.Len())
	require.Positive(t, b.Size())
	require.NoError(t, db.Write(&b, true))
	b.Reset()
	require.Zero(t, b.Len()+b.Size())
}

func TestBatchMayExceedTheWriteBuffer(t *testing.T) {
	both(t, func(t *testing.T, db *leveldb.DB) {
		t.Helper()
		require.NoError(t, db.Open())
		var b leveldb.Batch
		for i := range byte(18) {
			b.Put([]byte{i}, make([]byte, 1<<20))
		}
		require.NoError(t, db.Write(&b, true))
		require.NoError(t, db.Close())
		opened(t, db)
		for i := range byte(18) {
			has, err := db.Has([]byte{i})
			require.NoError(t, err)
			require.True(t, has)
		}
	})
}

func keys(t *testing.T, it *leveldb.Iterator) string {
	t.Helper()
	defer it.Close()
	var out []string
	for it.Next() {
		out = append(out, string(it.Key())+"="+string(it.Value()))
	}
	require.NoError(t, it.Err())
	return strings.Join(out, " ")
}

func TestIteratorsGoBothWays(t *testing.T) {
	both(t, func(t *testing.T, db *leveldb.DB) {
		t.Helper()
		opened(t, db)
		put(t, db, "a", "1", "b", "2", "c", "3", "d", "4")
		require.Equal(t, "a=1 b=2 c=3 d=4", keys(t, db.NewIterator(nil, nil)))
		require.Equal(t, "b=2 c=3", keys(t, db.NewIterator([]byte("b"), []byte("d"))))
		require.Equal(t, "c=3 b=2", keys(t, db.NewReverseIterator([]byte("b"), []byte("d"))))
		require.Empty(t, keys(t, db.NewReverseIterator([]byte("x"), nil)))
	})
}

func TestViewsDoNotSeeEachOther(t *testing.T) {
	db := opened(t, leveldb.NewMemory())
	one, two, last := db.View("one/"), db.View("two/"), db.View("\xff\xff")
	for i, v := range []*leveldb.View{one, two, last} {
		b := v.NewBatch()
		b.Put([]byte("k"), []byte{'0' + byte(i)})
		b.Put([]byte("\xff"), []byte("end"))
		b.Put([]byte("gone"), nil)
		b.Delete([]byte("gone"))
		require.NoError(t, v.Write(b, false))
	}
	require.Equal(t, "k=0 \xff=end", keys(t, one.NewIterator(nil, nil)))
	require.Equal(t, "\xff=end k=1", keys(t, two.NewReverseIterator(nil, nil)))
	require.Equal(t, "k=2", keys(t, last.NewIterator([]byte("a"), []byte("z"))))
	require.Equal(t, "\xff=end k=2", keys(t, last.NewReverseIterator(nil, nil)))
	v, err := two.Get([]byte("k"))
	require.NoError(t, err)
	require.Equal(t, "1", string(v))
	has, err := one.Has([]byte("gone"))
	require.NoError(t, err)
	require.False(t, has)
	require.Error(t, one.Write(two.NewBatch(), false))
}

func TestSecondProcessGetsOneClearLine(t *testing.T) {
	cfg := config(t)
	opened(t, leveldb.New(cfg))
	err := leveldb.New(cfg).Open()
	require.ErrorIs(t, err, leveldb.ErrInUse)
	require.EqualError(t, err, "already in use by another process: "+cfg.Path)
}

func TestPathIsAFile(t *testing.T) {
	cfg := config(t)
	cfg.Path = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(cfg.Path, nil, 0o600))
	require.ErrorContains(t, leveldb.New(cfg).Open(), cfg.Path)
}

func TestConfigNamesTheKey(t *testing.T) {
	require.NoError(t, leveldb.Default().Validate())
	for key, change := range map[string]func(*leveldb.Config){
		"path":               func(c *leveldb.Config) { c.Path = "" },
		"cache_bytes":        func(c *leveldb.Config) { c.CacheBytes = -1 },
		"write_buffer_bytes": func(c *leveldb.Config) { c.WriteBufferBytes = 1 },
		"open_files":         func(c *leveldb.Config) { c.OpenFiles = 1 },
	} {
		cfg := leveldb.Default()
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), key)
	}
}

func TestModuleOpensFromStartToStop(t *testing.T) {
	var db *leveldb.DB
	app := fxtest.New(t, fx.Supply(config(t), zap.NewNop()), fx.Provide(problems.New), leveldb.Module(), fx.Populate(&db))
	_, err := db.Get([]byte("a"))
	require.ErrorIs(t, err, leveldb.ErrClosed)
	app.RequireStart()
	put(t, db, "a", "1")
	app.RequireStop()
	_, err = db.Get([]byte("a"))
	require.ErrorIs(t, err, leveldb.ErrClosed)
}

// faulty fails writes or syncs of journals while told to.
type faulty struct {
	storage.Storage

	write, sync error
	syncs       int
}

func (f *faulty) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := f.Storage.Create(fd)
	if err != nil || fd.Type != storage.TypeJournal {
		return w, err
	}
	return &faultyWriter{w, f}, nil
}

type faultyWriter struct {
	storage.Writer

	f *faulty
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if w.f.write != nil {
		return 0, w.f.write
	}
	return w.Writer.Write(p)
}

func (w *faultyWriter) Sync() error {
	w.f.syncs++
	if w.f.sync != nil {
		return w.f.sync
	}
	return w.Writer.Sync()
}

func small() leveldb.Config {
	cfg := leveldb.Default()
	cfg.Path, cfg.WriteBufferBytes = "faulty", 64<<10
	return cfg
}

// After a failed sync the journal may hold the batch that failed. A batch
// written behind it would be dropped when the journal is read again.
func TestNothingIsWrittenAfterAFailedWrite(t *testing.T) {
	disk := errors.New("disk gone")
	for name, fail := range map[string]func(*faulty){
		"write": func(f *faulty) { f.write = disk },
		"sync":  func(f *faulty) { f.sync = disk },
	} {
		t.Run(name, func(t *testing.T) {
			f := &faulty{Storage: storage.NewMemStorage()}
			db := leveldb.NewOn(f, small())
			require.NoError(t, db.Open())
			var b leveldb.Batch
			b.Put([]byte("a"), []byte("1"))
			fail(f)
			require.ErrorIs(t, db.Write(&b, true), disk)
			f.write, f.sync = nil, nil
			err := db.Write(&b, true)
			require.ErrorIs(t, err, disk)
			require.ErrorContains(t, err, "until it is opened again")
			require.NoError(t, db.Close())

			opened(t, db)
			require.NoError(t, db.Write(&b, true))
		})
	}
}

func TestJournalIsSyncedBeforeTheNext(t *testing.T) {
	f := &faulty{Storage: storage.NewMemStorage()}
	db := opened(t, leveldb.NewOn(f, small()))
	var b leveldb.Batch
	b.Put([]byte("k"), make([]byte, 30<<10))
	for range 8 { // several write buffers, none of it with sync
		require.NoError(t, db.Write(&b, false))
	}
	require.GreaterOrEqual(t, f.syncs, 2)
}
