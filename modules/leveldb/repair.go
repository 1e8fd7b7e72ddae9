package leveldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tandem-node/tandem/modules/internal/durable"
)

// Verify reads all of the database, which checks every checksum. Damage is a
// *CorruptionError.
func (db *DB) Verify(ctx context.Context) error {
	it := db.NewIterator(nil, nil)
	defer it.Close()
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("verify database %s: %w", db.name(), err)
		}
	}
	return it.Err()
}

// Remove removes the directory of a database that nobody has open. One that another
// process holds is ErrInUse. After a crash the database is there or it is not.
func Remove(path string) error {
	stor, err := Files{}.Open(path)
	if err != nil {
		return openError(path, err)
	}
	doomed := path + ".removed"
	err = os.RemoveAll(doomed) // of a removal that was cut short
	if err == nil {
		err = os.Rename(path, doomed)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err == nil {
		err = os.RemoveAll(doomed)
	}
	if err = errors.Join(err, stor.Close()); err != nil {
		return fmt.Errorf("remove database %s: %w", path, err)
	}
	return nil
}
