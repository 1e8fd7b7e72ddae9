package leveldb_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
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
	if n.rand.IntN(8) == 0 {
		if err := n.db.Sync(); err != nil {
			return err
		}
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
	held    chan struct{} // closed when it is held back
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
		close(w.s.held)
		<-w.s.release
		return errSync
	}
	return w.Writer.Sync()
}

// A write that waits for its turn while the sync of another one fails is refused:
// it would stand behind something in the journal that is not known to be there.
func TestNothingIsWrittenBehindAFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuckDisk{Storage: storage.NewMemStorage(), release: make(chan struct{}), held: make(chan struct{})}
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

// A sync that waits while another one fails fails as well: the disk says only once
// that something is lost.
func TestSyncBesideAFailedOne(t *testing.T) {
	s := &stuckDisk{Storage: storage.NewMemStorage(), release: make(chan struct{}), held: make(chan struct{})}
	db := leveldb.NewOn(s, small())
	require.NoError(t, db.Open())
	put(t, db, "a", "1")
	s.mu.Lock()
	s.armed = true
	s.mu.Unlock()
	const syncs = 50
	failed, begun := make(chan error, syncs), make(chan struct{}, syncs)
	sync := func() {
		begun <- struct{}{}
		failed <- db.Sync()
	}
	go sync()
	<-s.held
	for range syncs - 1 {
		go sync()
	}
	for range syncs {
		<-begun
	}
	for range 1000 {
		put(t, db, "b", "writes do not wait")
	}
	close(s.release)
	for range syncs {
		require.ErrorIs(t, <-failed, errSync)
	}
	var b leveldb.Batch
	require.ErrorIs(t, db.Write(&b, false), errSync)
	require.NoError(t, db.Close())
}

// Syncs go on while the journal is left for the next one.
func TestSyncBesideANewJournal(t *testing.T) {
	cfg := config(t)
	cfg.WriteBufferBytes = 16 << 10
	db := opened(t, leveldb.New(cfg))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if !assert.NoError(t, db.Sync()) {
						return
					}
				}
			}
		})
	}
	for n := range 300 {
		put(t, db, strconv.Itoa(n), string(make([]byte, 6000)))
	}
	close(stop)
	wg.Wait()
	require.NoError(t, db.Sync())
	require.Equal(t, db.Written(), db.Durable())
}

// halfDisk holds the second half of a journal's record back that crosses two blocks.
type halfDisk struct {
	storage.Storage

	held, release chan struct{}
}

func (s *halfDisk) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := s.Storage.Create(fd)
	if fd.Type != storage.TypeJournal {
		return w, err
	}
	return &halfWriter{Writer: w, s: s}, err
}

type halfWriter struct {
	storage.Writer

	s       *halfDisk
	written int
}

func (w *halfWriter) Write(p []byte) (int, error) {
	const block = 32 << 10
	if w.written == block {
		close(w.s.held)
		<-w.s.release
	}
	w.written += len(p)
	return w.Writer.Write(p)
}

// A sync while a record is half written does not claim that half: when a power cut
// takes the record away, and leaves a later one, that is no damage.
func TestSyncBesideHalfARecord(t *testing.T) {
	cfg := config(t)
	require.NoError(t, os.MkdirAll(cfg.Path, 0o750))
	files, err := storage.OpenFile(cfg.Path, false)
	require.NoError(t, err)
	s := &halfDisk{Storage: files, held: make(chan struct{}), release: make(chan struct{})}
	db := leveldb.NewOn(s, cfg)
	require.NoError(t, db.Open())
	put(t, db, "first", "1")
	wrote := make(chan error)
	go func() {
		var b leveldb.Batch
		b.Put([]byte("across"), make([]byte, 40<<10))
		wrote <- db.Write(&b, false)
	}()
	<-s.held
	require.NoError(t, db.Sync())
	close(s.release)
	require.NoError(t, <-wrote)
	put(t, db, "later", "1")
	cut := copied(t, cfg)
	require.NoError(t, db.Close())
	require.NoError(t, files.Close())
	zeroPage(t, file(t, cut, "*.log"), 8)
	again := opened(t, leveldb.New(cut))
	for key, want := range map[string]bool{"first": true, "across": false, "later": false} {
		has, err := again.Has([]byte(key))
		require.NoError(t, err)
		require.Equal(t, want, has, key)
	}
}

// After a power cut during writes and syncs of several goroutines nothing is taken
// for damage, and what was synced is there.
func TestPowerCutBesideASync(t *testing.T) {
	for seed := range uint64(60) {
		disk := powerdisk.New(seed, powerdisk.Torn)
		db := leveldb.New(small(), leveldb.OnDisk(disk))
		require.NoError(t, db.Open())
		disk.CutAfter(50 + int(seed)*7)
		var synced [3]int
		var wg sync.WaitGroup
		for i := range synced {
			wg.Go(func() {
				for n := 1; ; n++ {
					var b leveldb.Batch
					b.Put([]byte{byte(i)}, binary.BigEndian.AppendUint64(nil, uint64(n)))
					b.Put([]byte{byte(i), 1}, make([]byte, 100*i))
					if db.Write(&b, n%5 == i) != nil {
						return
					}
					if n%5 != i && (n%3 != 0 || db.Sync() != nil) {
						continue
					}
					synced[i] = n
				}
			})
		}
		wg.Wait()
		_ = db.Close()
		disk.Restart()
		require.NoError(t, db.Open(), "seed %d", seed)
		for i, want := range synced {
			if want == 0 {
				continue
			}
			v, err := db.Get([]byte{byte(i)})
			require.NoError(t, err)
			require.GreaterOrEqual(t, binary.BigEndian.Uint64(v), uint64(want), "seed %d", seed)
		}
		require.NoError(t, db.Close())
	}
}

// A hole in what was not synced, with whole records behind it, is cut off. The same
// hole in what was synced is damage.
func TestHoleBehindTheLastSync(t *testing.T) {
	const never, each, apart = 0, 1, 2 // the writes that are synced; apart: by Sync
	for _, synced := range []int{never, each, apart} {
		for hole := range 4 { // pages of the journal; the first record is in the first one
			cfg := config(t)
			db := leveldb.New(cfg)
			require.NoError(t, db.Open())
			put(t, db, "first", "1")
			for i := range 20 {
				var b leveldb.Batch
				b.Put(fmt.Appendf(nil, "k%02d", i), make([]byte, 1500))
				require.NoError(t, db.Write(&b, synced == each))
				if synced == apart {
					require.NoError(t, db.Sync())
				}
			}
			killed := copied(t, cfg)
			require.NoError(t, db.Close())
			zeroPage(t, file(t, killed, "*.log"), hole)
			if synced != never {
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
