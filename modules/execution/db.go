package execution

import (
	"errors"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// database is the executors' own database in one directory. A batch has reached
// the operating system when it is written, and the disk when it is synced.
type database struct {
	*leveldb.DB
	writes int // batches written, for tests; guarded by the executor
}

func newDatabase(dir string) *database {
	cfg := leveldb.Default()
	cfg.Path = dir
	return &database{DB: leveldb.New(cfg)}
}

func (d *database) get(key []byte) (value []byte, found bool, err error) {
	value, err = d.Get(key)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, false, nil
	}
	return value, err == nil, err
}

func (d *database) write(b *leveldb.Batch, sync bool) error {
	d.writes++
	return d.Write(b, sync)
}
