package leveldb_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/tandem-node/tandem/modules/leveldb"
	_ "github.com/tandem-node/tandem/testutil/bubble" // for a writer that waits for another
	"github.com/tandem-node/tandem/testutil/powerdisk"
)

var powerSeeds = flag.Uint64("power.seeds", 150, "power cuts to run in each mode")

// numbered writes batches that each hold their number and that of the batch, so
// that what is left of them shows which were lost.
type numbered struct {
	db     *leveldb.DB
	rand   *rand.Rand
	last   uint64 // that was written
	synced uint64 // the last that was acknowledged as on the disk
}

func (n *numbered) write() error {
	var b leveldb.Batch
	number := binary.BigEndian.AppendUint64(nil, n.last+1)
	b.Put([]byte("last"), number)
	b.Put(append([]byte("k"), number...), make([]byte, n.rand.IntN(3000)))
	b.Delete(append([]byte("k"), binary.BigEndian.AppendUint64(nil, n.last-20)...))
	sync := n.rand.IntN(8) == 0
	if err := n.db.Write(&b, sync); err != nil {
		return err
	}
	n.last++
	if sync {
		n.synced = n.last
	}
	return nil
}

// check finds out which batch is the newest, and that all before it are there.
func (n *numbered) check(t *testing.T) {
	t.Helper()
	newest := uint64(0)
	if v, err := n.db.Get([]byte("last")); !errors.Is(err, leveldb.ErrNotFound) {
		require.NoError(t, err)
		newest = binary.BigEndian.Uint64(v)
	}
	require.GreaterOrEqual(t, newest, n.synced, "a synced write is lost")
	require.LessOrEqual(t, newest, n.last+1, "one write may have been under way")
	it := n.db.NewIterator([]byte("k"), []byte("l"))
	defer it.Close()
	next := newest - min(newest, 21) + 1
	for ; it.Next(); next++ {
		require.Equal(t, next, binary.BigEndian.Uint64(it.Key()[1:]), "what is left is not what some write left")
	}
	require.NoError(t, it.Err())
	require.Equal(t, newest+1, max(next, 1))
	n.last, n.synced = newest, newest
}

// After a power cut at any operation, again and again, the database opens, and what
// it holds is what some write left: the last one that was synced, or a later one.
func TestPowerCuts(t *testing.T) {
	seeds := *powerSeeds
	if testing.Short() {
		seeds = 20
	}
	for name, mode := range map[string]powerdisk.Mode{"synced": powerdisk.Synced, "torn": powerdisk.Torn} {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds {
				t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { cutOften(t, seed, mode) })
			}
		})
	}
}

func cutOften(t *testing.T, seed uint64, mode powerdisk.Mode) {
	t.Helper()
	disk := powerdisk.New(seed, mode)
	n := &numbered{rand: rand.New(rand.NewPCG(seed, 0)), db: leveldb.New(small(), leveldb.OnDisk(disk))}
	for range 5 {
		disk.CutAfter(1 + n.rand.IntN(120))
		if n.db.Open() == nil {
			for n.write() == nil {
			}
			_ = n.db.Close() // without power
		}
		require.True(t, disk.Off())
		disk.Restart()
		require.NoError(t, n.db.Open())
		n.check(t)
		if n.rand.IntN(2) == 0 {
			require.NoError(t, n.db.Close())
		} else {
			disk.Cut()
			_ = n.db.Close()
		}
		disk.Restart()
	}
}

// stuckDisk holds one sync back and then fails it; those that follow succeed, as on
// Linux after a failed fsync.
type stuckDisk struct {
	storage.Storage

	mu      sync.Mutex
	armed   bool
	release chan struct{}
}

var errSync = errors.New("sync failed")

func (s *stuckDisk) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := s.Storage.Create(fd)
	return &stuckWriter{w, s}, err
}

type stuckWriter struct {
	storage.Writer

	s *stuckDisk
}

func (w *stuckWriter) Sync() error {
	w.s.mu.Lock()
	armed := w.s.armed
	w.s.armed = false
	w.s.mu.Unlock()
	if armed {
		<-w.s.release
		return errSync
	}
	return w.Writer.Sync()
}

// A write that waits for its turn while the sync of another one fails is refused:
// it would stand behind something in the journal that is not known to be there.
func TestNothingIsWrittenBehindAFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuckDisk{Storage: storage.NewMemStorage(), release: make(chan struct{})}
		db := leveldb.NewOn(s, small())
		require.NoError(t, db.Open())
		s.mu.Lock()
		s.armed = true
		s.mu.Unlock()
		failed := make(chan error, 3)
		write := func(key string, size int) {
			var b leveldb.Batch
			b.Put([]byte(key), make([]byte, size))
			failed <- db.Write(&b, true)
		}
		go write("a", 1)
		synctest.Wait() // it is in its sync
		go write("b", 1)
		go write("c", 200<<10) // needs a new journal
		synctest.Wait()        // they wait for their turn
		close(s.release)
		for range 3 {
			require.ErrorIs(t, <-failed, errSync)
		}
		require.NoError(t, db.Close())
		time.Sleep(time.Minute) // goleveldb's pool is there for half of one
	})
}

// A hole in what was not synced, with whole records behind it, is cut off. The same
// hole in what was synced is damage.
func TestHoleBehindTheLastSync(t *testing.T) {
	for _, synced := range []bool{false, true} {
		for hole := range 4 { // pages of the journal; the first record is in the first one
			cfg := config(t)
			db := leveldb.New(cfg)
			require.NoError(t, db.Open())
			put(t, db, "first", "1")
			for i := range 20 {
				var b leveldb.Batch
				b.Put(fmt.Appendf(nil, "k%02d", i), make([]byte, 1500))
				require.NoError(t, db.Write(&b, synced))
			}
			killed := copied(t, cfg)
			require.NoError(t, db.Close())
			zeroPage(t, file(t, killed, "*.log"), hole)
			if synced {
				damaged(t, killed)
				continue
			}
			again := opened(t, leveldb.New(killed))
			has, err := again.Has([]byte("first"))
			require.NoError(t, err)
			require.Equal(t, hole > 0, has, "hole %d", hole)
			has, err = again.Has([]byte("k19"))
			require.NoError(t, err)
			require.False(t, has, "nothing behind a hole is kept")
		}
	}
}

// One flipped byte in any synced record is damage, however short the journal is.
func TestFlippedByteInASyncedRecord(t *testing.T) {
	cfg := filled(t, 10) // far less than a block
	damagedAt(t, cfg, 3000)
	damagedAt(t, cfg, 7+12+1) // in the first record
}

// A journal is synced before the next one takes writes, so that a bad end of any but
// the last one is damage.
func TestBadEndOfAnOlderJournal(t *testing.T) {
	older, newer := filled(t, 10), filled(t, 10)
	whole, err := os.ReadFile(file(t, newer, "*.log"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(older.Path, "000900.log"), whole, 0o600))
	first := filepath.Join(older.Path, filepath.Base(file(t, newer, "*.log")))
	require.NoError(t, os.Truncate(first, int64(len(whole)-10)))
	damaged(t, older)
}

// A database whose making was cut short is made again.
func TestCutShortWhileItIsMade(t *testing.T) {
	for name, content := range map[string]string{"MANIFEST-000000": "half", "CURRENT.0": "MANI", "CURRENT": ""} {
		cfg := config(t)
		require.NoError(t, os.MkdirAll(cfg.Path, 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(cfg.Path, name), []byte(content), 0o600))
		for range 2 {
			opened(t, leveldb.New(copied(t, cfg)))
		}
	}
}
