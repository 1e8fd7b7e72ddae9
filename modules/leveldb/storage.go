package leveldb

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

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

	mu      sync.Mutex
	failed  error         // the first failure
	journal *syncedWriter // that takes writes now
	writes  int           // under way
	rest    claim         // where the journal ended when none was
	written uint64        // writes that have returned
	durable uint64        // so many of them have reached the disk
	synced  claim         // the newest
	owed    bool          // it is not written down
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
	out := &syncedWriter{Writer: w, s: s, fd: fd, critical: critical}
	if fd.Type == storage.TypeJournal {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.journal = out
	}
	return out, nil
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

// begin is called before a batch is written. It adds what the last sync has
// reached, once.
func (s *syncedStorage) begin(b *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.owed {
		s.owed = false
		s.synced.stage(&b.batch)
	}
}

// end is called after a write, whether it succeeded or not.
func (s *syncedStorage) end(written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes--
	if written {
		s.written++
	}
	if s.writes == 0 {
		s.rest = claim{journal: s.journal.fd.Num, synced: s.journal.written.Load()}
	}
}

// sync syncs the journal while goleveldb may write to it. How far it was written is
// known only of a moment without writes: anything later may be half a record.
func (s *syncedStorage) sync() error {
	s.mu.Lock()
	journal, reached, written := s.journal, s.rest, s.written
	s.mu.Unlock()
	return journal.reach(reached, written)
}

// reached notes what a sync has reached, unless another one has reached more.
func (s *syncedStorage) reached(c claim, written uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable = max(s.durable, written)
	if c.journal > s.synced.journal || c.journal == s.synced.journal && c.synced > s.synced.synced {
		s.synced, s.owed = c, true
	}
}

func (s *syncedStorage) count(n *uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
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

// syncedWriter is one file. goleveldb does not call it concurrently; DB.Sync syncs
// a journal beside it.
type syncedWriter struct {
	storage.Writer

	s        *syncedStorage
	fd       storage.FileDesc
	critical bool
	written  atomic.Int64

	mu      sync.Mutex // held by a sync
	entered bool       // its entry in the directory is durable
	closed  bool       // which syncs it
}

// Write implements io.Writer.
func (w *syncedWriter) Write(p []byte) (int, error) {
	if err := w.refuse(); err != nil {
		return 0, err
	}
	n, err := w.Writer.Write(p)
	w.written.Add(int64(n))
	return n, w.note(err)
}

// Sync implements storage.Syncer.
func (w *syncedWriter) Sync() error {
	written := w.s.count(&w.s.written) // all of them are in this journal or in older ones
	return w.reach(claim{journal: w.fd.Num, synced: w.written.Load()}, written)
}

// reach syncs the file, which was written up to c with the first writes of its
// database in it or in older journals.
func (w *syncedWriter) reach(c claim, written uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refuse(); err != nil { // a sync that succeeds behind a failed one says nothing
		return err
	}
	if w.closed {
		return nil
	}
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
		w.s.reached(c, written)
	}
	return nil
}

// Close implements io.Closer. goleveldb ignores its error where it goes on to the
// next journal; the failure is kept for the next write.
func (w *syncedWriter) Close() error {
	if w.fd.Type != storage.TypeJournal {
		return w.Writer.Close() //nolint:wrapcheck // goleveldb looks at it
	}
	err := w.Sync()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return errors.Join(err, w.Writer.Close())
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
