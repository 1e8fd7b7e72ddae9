package leveldb

import (
	"errors"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// syncedStorage syncs a journal before it is left for the next one. Otherwise a
// power cut could lose the end of the old journal and keep a synced write in
// the new one.
type syncedStorage struct{ storage.Storage }

// Create implements storage.Storage.
func (s *syncedStorage) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := s.Storage.Create(fd)
	if err != nil || fd.Type != storage.TypeJournal {
		return w, err
	}
	return &syncedWriter{w}, nil
}

type syncedWriter struct{ storage.Writer }

// Close implements io.Closer.
func (w *syncedWriter) Close() error { return errors.Join(w.Sync(), w.Writer.Close()) }
