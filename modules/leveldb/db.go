package leveldb

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// DB is one database. All methods may be called from any goroutine.
type DB struct {
	cfg   Config
	disk  Disk
	watch *Watch

	mu   sync.Mutex                    // held by Open and Close
	stor atomic.Pointer[syncedStorage] // set while open is
	open atomic.Pointer[leveldb.DB]
}

// Option changes how a database is made.
type Option func(*DB)

// OnDisk keeps the database on another disk than Files; Config.Path is its name there.
func OnDisk(d Disk) Option { return func(db *DB) { db.disk = d } }

// New returns the database of cfg, closed.
func New(cfg Config, opts ...Option) *DB {
	db := &DB{cfg: cfg, disk: Files{}}
	for _, o := range opts {
		o(db)
	}
	return db
}

// NewMemory returns a database that lives in memory, closed. What is in it
// stays over Close and Open of the same *DB.
func NewMemory() *DB { return NewOn(storage.NewMemStorage(), memoryConfig()) }

// NewOn returns a database on a goleveldb storage, closed; cfg.Path is only a
// name. Close does not close the storage. Tests use it to make disks fail.
func NewOn(s storage.Storage, cfg Config) *DB { return New(cfg, OnDisk(fixed{s})) }

// Open opens the database and makes it when it is missing. A directory that
// another process holds is ErrInUse, a damaged one a *CorruptionError.
func (db *DB) Open() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.open.Load() != nil {
		return fmt.Errorf("open database %s: it is open already", db.name())
	}
	stor, err := db.disk.Open(db.cfg.Path)
	if err != nil {
		return openError(db.name(), err)
	}
	if err := db.openOn(stor); err != nil {
		return errors.Join(err, stor.Close())
	}
	return nil
}

func (db *DB) openOn(stor storage.Storage) error {
	synced := &syncedStorage{Storage: stor}
	cut, err := checkLogs(synced)
	if err != nil {
		return openError(db.name(), err)
	}
	l, err := leveldb.Open(synced, db.cfg.Options())
	if err != nil {
		return openError(db.name(), err)
	}
	if cut != nil {
		db.watch.cut(db.name(), *cut)
	}
	db.stor.Store(synced)
	db.open.Store(l)
	return nil
}

func openError(name string, err error) error {
	switch {
	case isCorrupted(err):
		return &CorruptionError{Path: name, Err: err}
	case errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, storage.ErrLocked):
		return fmt.Errorf("%w: %s", ErrInUse, name)
	}
	return fmt.Errorf("open database %s: %w", name, err)
}

// Close closes the database; a closed one stays closed. Reads and writes that
// come later return ErrClosed. Iterators must be closed before. It makes a table
// of what is in the journal, because replaying that takes Open far longer.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	l := db.open.Swap(nil)
	if l == nil {
		return nil
	}
	stor := db.stor.Swap(nil)
	if err := closeOn(l, stor); err != nil {
		return fmt.Errorf("close database %s: %w", db.name(), err)
	}
	return nil
}

func closeOn(l *leveldb.DB, stor *syncedStorage) error {
	if stor.writable() && calm(l) {
		if err := flush(l); err != nil {
			// goleveldb keeps its write lock then, and Close would wait for it.
			return errors.Join(err, stor.Close())
		}
	}
	return errors.Join(l.Close(), stor.Close())
}

// flush waits until nothing is in the write buffer, which beginning a
// transaction does first of all.
func flush(l *leveldb.DB) error {
	tr, err := l.OpenTransaction()
	if err == nil {
		tr.Discard()
	}
	return err
}

// calm reports whether flush would be done at once. With many tables on the
// first level, and the two buffers add to them, it would wait for compaction.
func calm(l *leveldb.DB) bool {
	const buffers = 2
	tables, err := l.GetProperty("leveldb.num-files-at-level0")
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(tables)
	return err == nil && n+buffers < opt.DefaultWriteL0PauseTrigger
}

// Path returns the directory, or "memory".
func (db *DB) Path() string { return db.name() }

// Get returns a copy of the value of key, or ErrNotFound.
func (db *DB) Get(key []byte) ([]byte, error) {
	l := db.open.Load()
	if l == nil {
		return nil, ErrClosed
	}
	v, err := l.Get(key, nil)
	if err != nil {
		return nil, db.explain(err)
	}
	return v, nil
}

// Has reports whether key is there.
func (db *DB) Has(key []byte) (bool, error) {
	l := db.open.Load()
	if l == nil {
		return false, ErrClosed
	}
	ok, err := l.Has(key, nil)
	return ok, db.explain(err)
}

// Write applies a batch as a whole or not at all. With sync it has reached the
// disk when Write returns, and so has everything written before. Batches of
// concurrent callers share an fsync. After a write has failed all later ones do,
// until the database is opened again: what its files hold is not known. It may add
// a change of its own to the batch, see claim.
func (db *DB) Write(b *Batch, sync bool) error {
	l, stor := db.open.Load(), db.stor.Load()
	if l == nil || stor == nil {
		return ErrClosed
	}
	if cause := stor.failure(); cause != nil {
		return db.refused(cause)
	}
	stor.begin(b)
	err := l.Write(&b.batch, &opt.WriteOptions{Sync: sync})
	stor.end(err == nil)
	return db.wrote(stor, err)
}

// Sync returns once all writes that have returned are on the disk. Unlike a synced
// write it adds nothing to the journal, and other writes do not wait for it.
func (db *DB) Sync() error {
	stor := db.stor.Load()
	if stor == nil {
		return ErrClosed
	}
	if cause := stor.failure(); cause != nil {
		return db.refused(cause)
	}
	return db.wrote(stor, stor.sync())
}

func (db *DB) refused(cause error) error {
	return fmt.Errorf("database %s refuses writes until it is opened again, after: %w", db.name(), cause)
}

// wrote makes a failure of a write known, and returns it.
func (db *DB) wrote(stor *syncedStorage, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, leveldb.ErrClosed):
		return ErrClosed
	}
	stor.fail(err)
	err = db.explain(err)
	db.watch.failed(db.name(), err)
	return err
}

// Written returns how many writes have returned since the database was opened.
func (db *DB) Written() uint64 {
	if stor := db.stor.Load(); stor != nil {
		return stor.count(&stor.written)
	}
	return 0
}

// Durable returns how many of them have reached the disk for certain, the oldest
// ones. It lags behind for synced writes, which know better.
func (db *DB) Durable() uint64 {
	if stor := db.stor.Load(); stor != nil {
		return stor.count(&stor.durable)
	}
	return 0
}

func (db *DB) name() string {
	if db.cfg.Path != "" {
		return db.cfg.Path
	}
	if _, memory := db.disk.(fixed); memory {
		return "memory"
	}
	return "(no path)"
}
