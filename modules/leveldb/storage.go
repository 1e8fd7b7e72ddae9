package leveldb

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/syndtr/goleveldb/leveldb"
	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// syncedStorage keeps the promises of Write on a disk that fails or loses its
// power, where goleveldb alone does not:
//
//   - A journal is synced before it is left for the next one. Otherwise a power cut
//     could lose the end of the old journal and keep a synced write in the new one.
//   - The entry of a journal or table in the directory is durable before anything
//     that relies on it is.
//   - After a write or sync of a journal or manifest has failed nothing more is
//     written: what the file holds is not known then, and a record behind it could
//     be lost though its own sync succeeded.
//
// It also knows how much of the journal is synced; see claim.
type syncedStorage struct {
	storage.Storage

	claim   atomic.Pointer[claim] // the newest that is not written down; nil when none
	written atomic.Uint64         // writes that have returned
	durable atomic.Uint64         // so many of them have reached the disk

	mu     sync.Mutex
	failed error // the first failure
}

// Create implements storage.Storage.
func (s *syncedStorage) Create(fd storage.FileDesc) (storage.Writer, error) {
	critical := fd.Type == storage.TypeJournal || fd.Type == storage.TypeManifest
	if err := s.failure(); critical && err != nil {
		return nil, err
	}
	w, err := s.Storage.Create(fd)
	if err != nil {
		return nil, err //nolint:wrapcheck // goleveldb looks at it
	}
	return &syncedWriter{Writer: w, s: s, fd: fd, critical: critical}, nil
}

// GetMeta implements storage.Storage. A database that has neither journals nor
// tables was never in use: its making was cut short, and it is made again, which
// goleveldb refuses.
func (s *syncedStorage) GetMeta() (storage.FileDesc, error) {
	fd, err := s.Storage.GetMeta()
	if !errors.Is(err, os.ErrNotExist) && !lerrors.IsCorrupted(err) {
		return fd, err //nolint:wrapcheck // goleveldb looks at it
	}
	used, listErr := s.List(storage.TypeJournal | storage.TypeTable)
	if listErr != nil || len(used) > 0 {
		if listErr != nil {
			err = listErr
		}
		return fd, err
	}
	manifests, listErr := s.List(storage.TypeManifest)
	for _, m := range manifests {
		listErr = errors.Join(listErr, s.Remove(m))
	}
	if listErr != nil {
		return fd, listErr
	}
	return fd, os.ErrNotExist
}

func (s *syncedStorage) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *syncedStorage) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// writeClaim writes down what the last sync has reached, once.
func (s *syncedStorage) writeClaim(l *leveldb.DB) error {
	if c := s.claim.Swap(nil); c != nil {
		return l.Write(c.batch(), nil) //nolint:wrapcheck // the caller names the database
	}
	return nil
}

// writable reports whether files can be made.
func (s *syncedStorage) writable() bool {
	if s.failure() != nil {
		return false
	}
	probe := storage.FileDesc{Type: storage.TypeTemp}
	w, err := s.Storage.Create(probe)
	return err == nil && errors.Join(w.Close(), s.Remove(probe)) == nil
}

// syncedWriter is one file. goleveldb does not call it concurrently.
type syncedWriter struct {
	storage.Writer

	s        *syncedStorage
	fd       storage.FileDesc
	critical bool
	entered  bool // its entry in the directory is durable
	written  int64
}

// Write implements io.Writer.
func (w *syncedWriter) Write(p []byte) (int, error) {
	if err := w.refuse(); err != nil {
		return 0, err
	}
	n, err := w.Writer.Write(p)
	w.written += int64(n)
	return n, w.note(err)
}

// Sync implements storage.Syncer.
func (w *syncedWriter) Sync() error {
	if err := w.refuse(); err != nil {
		return err
	}
	written := w.s.written.Load() // all of them are in this journal or in older ones
	if err := w.Writer.Sync(); err != nil {
		return w.note(err)
	}
	if !w.entered {
		if err := syncDir(w.s.Storage); err != nil {
			return w.note(err)
		}
		w.entered = true
	}
	if w.fd.Type == storage.TypeJournal {
		w.s.durable.Store(written)
		w.s.claim.Store(&claim{journal: w.fd.Num, synced: w.written})
	}
	return nil
}

// Close implements io.Closer. goleveldb ignores its error where it goes on to the
// next journal; the failure is kept for the next write.
func (w *syncedWriter) Close() error {
	if w.fd.Type != storage.TypeJournal {
		return w.Writer.Close() //nolint:wrapcheck // goleveldb looks at it
	}
	return errors.Join(w.Sync(), w.Writer.Close())
}

func (w *syncedWriter) refuse() error {
	if !w.critical {
		return nil
	}
	if err := w.s.failure(); err != nil {
		return fmt.Errorf("nothing is written behind a failed write: %w", err)
	}
	return nil
}

func (w *syncedWriter) note(err error) error {
	if err != nil && w.critical {
		w.s.fail(err)
	}
	return err
}
