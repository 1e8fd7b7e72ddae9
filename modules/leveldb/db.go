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
	cfg Config
	mem storage.Storage // set for a database that is not in a directory

	mu     sync.Mutex // held by Open and Close
	stor   storage.Storage
	open   atomic.Pointer[leveldb.DB]
	failed atomic.Pointer[error] // the first failed write
}

// New returns the database of cfg, closed.
func New(cfg Config) *DB { return &DB{cfg: cfg} }

// NewMemory returns a database that lives in memory, closed. What is in it
// stays over Close and Open of the same *DB.
func NewMemory() *DB { return NewOn(storage.NewMemStorage(), memoryConfig()) }

// NewOn returns a database on a goleveldb storage, closed; cfg.Path is only a
// name. Close does not close the storage. Tests use it to make disks fail.
func NewOn(s storage.Storage, cfg Config) *DB { return &DB{cfg: cfg, mem: s} }

// Open opens the database and makes it when it is missing. A directory that
// another process holds is ErrInUse, a damaged one a *CorruptionError.
func (db *DB) Open() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.open.Load() != nil {
		return fmt.Errorf("open database %s: it is open already", db.name())
	}
	stor := db.mem
	if stor == nil {
		var err error
		if stor, err = storage.OpenFile(db.cfg.Path, false); err != nil {
			return openError(db.name(), err)
		}
	}
	if err := db.openOn(stor); err != nil {
		if db.mem == nil {
			err = errors.Join(err, stor.Close())
		}
		return err
	}
	return nil
}

func (db *DB) openOn(stor storage.Storage) error {
	if err := checkLogs(stor); err != nil {
		return &CorruptionError{Path: db.name(), Err: err}
	}
	l, err := leveldb.Open(&syncedStorage{stor}, db.cfg.Options())
	switch {
	case isCorrupted(err):
		return &CorruptionError{Path: db.name(), Err: err}
	case err != nil:
		return openError(db.name(), err)
	}
	db.stor = stor
	db.failed.Store(nil)
	db.open.Store(l)
	return nil
}

func openError(name string, err error) error {
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, storage.ErrLocked) {
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
	stor := db.stor
	db.stor = nil
	if err := db.closeOn(l, stor); err != nil {
		return fmt.Errorf("close database %s: %w", db.name(), err)
	}
	return nil
}

func (db *DB) closeOn(l *leveldb.DB, stor storage.Storage) error {
	if db.mem != nil {
		return l.Close()
	}
	if db.failed.Load() == nil && calm(l) {
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
// disk when Write returns. Batches of concurrent callers share an fsync.
func (db *DB) Write(b *Batch, sync bool) error {
	l := db.open.Load()
	if l == nil {
		return ErrClosed
	}
	if cause := db.failed.Load(); cause != nil {
		return fmt.Errorf("database %s refuses writes until it is opened again, after: %w", db.name(), *cause)
	}
	if err := l.Write(&b.batch, &opt.WriteOptions{Sync: sync}); err != nil {
		db.failed.CompareAndSwap(nil, &err)
		return db.explain(err)
	}
	return nil
}

func (db *DB) name() string {
	switch {
	case db.cfg.Path != "":
		return db.cfg.Path
	case db.mem != nil:
		return "memory"
	default:
		return "(no path)"
	}
}
