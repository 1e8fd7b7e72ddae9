package execution

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// database is the executors' own key-value database in one directory. Writes
// reach the operating system before write returns, and the disk when sync is set.
type database struct {
	path   string
	db     *leveldb.DB
	writes int // batches written since open, for tests; guarded by the executor
}

func newDatabase(path string) *database { return &database{path: path} }

func (d *database) open() error {
	db, err := leveldb.OpenFile(d.path, &opt.Options{})
	if err != nil {
		return fmt.Errorf("open execution state %s: %w", d.path, err)
	}
	d.db = db
	return nil
}

func (d *database) close() error {
	if d.db == nil {
		return nil
	}
	return d.db.Close()
}

func (d *database) get(key []byte) (value []byte, found bool, err error) {
	value, err = d.db.Get(key, nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, false, nil
	}
	return value, err == nil, err
}

func (d *database) write(b *leveldb.Batch, sync bool) error {
	d.writes++
	return d.db.Write(b, &opt.WriteOptions{Sync: sync})
}

// iterate returns the entries of [start, limit) as they are now. The caller
// releases the iterator.
func (d *database) iterate(start, limit []byte) iterator.Iterator {
	return d.db.NewIterator(&util.Range{Start: start, Limit: limit}, nil)
}
