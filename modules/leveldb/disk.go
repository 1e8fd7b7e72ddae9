package leveldb

import (
	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/tandem-node/tandem/modules/internal/durable"
)

// Disk is where databases are kept. Files is the real one; tests use others, which
// fail or lose their power.
type Disk interface {
	// Open returns the files of the database in a directory, which is made when it is
	// missing. A storage with a method SyncDir() error has its directory synced after
	// files were made in it.
	Open(path string) (storage.Storage, error)
}

// Files is the file system of the machine.
type Files struct{}

// Open implements Disk.
func (Files) Open(path string) (storage.Storage, error) {
	const mode = 0o755 // goleveldb's
	if err := durable.MkdirAll(path, mode); err != nil {
		return nil, err //nolint:wrapcheck // names the path
	}
	s, err := storage.OpenFile(path, false)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the database
	}
	return &directory{Storage: s, path: path}, nil
}

// directory is a storage that can sync its directory.
type directory struct {
	storage.Storage
	path string
}

// SyncDir makes the entries of the files durable.
func (d *directory) SyncDir() error { return durable.SyncDir(d.path) } //nolint:wrapcheck // names the path

func syncDir(s storage.Storage) error {
	if d, ok := s.(interface{ SyncDir() error }); ok {
		return d.SyncDir()
	}
	return nil
}

// fixed is a Disk with one storage, which stays open: what is closed can be opened
// again.
type fixed struct{ storage.Storage }

// Open implements Disk.
func (f fixed) Open(string) (storage.Storage, error) { return kept(f), nil }

type kept struct{ storage.Storage }

// Close implements storage.Storage and leaves the storage open.
func (kept) Close() error { return nil }

// SyncDir passes the call on.
func (k kept) SyncDir() error { return syncDir(k.Storage) }
