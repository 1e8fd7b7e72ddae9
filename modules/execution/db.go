package execution

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// database is the executors' own database in one directory. A batch has reached
// the operating system when it is written, and the disk when it is synced.
type database struct {
	*leveldb.DB
	writes int // batches written, for tests; guarded by the executor
}

func newDatabase(dir string, opts []leveldb.Option) *database {
	cfg := leveldb.Default()
	cfg.Path = dir
	return &database{DB: leveldb.New(cfg, opts...)}
}

// resetKey returns the key that is there while a reset is under way.
func resetKey() []byte { return []byte("\x00reset") }

const resetRecords = 4096 // in one batch

// open opens the database and finishes a reset that was cut short.
func (d *database) open() error {
	if err := d.Open(); err != nil {
		return err
	}
	_, under, err := d.get(resetKey())
	if err == nil && under {
		err = d.empty()
	}
	if err != nil {
		return errors.Join(err, d.Close())
	}
	return nil
}

// unreadable says what to do about records that make no state.
func (d *database) unreadable(err error) error {
	if _, said := errors.AsType[*leveldb.CorruptionError](err); said {
		return fmt.Errorf("load execution state: %w", err)
	}
	return fmt.Errorf("load execution state %s: %w; 'tandem repair' removes it, and all blocks are executed again", d.Path(), err)
}

// reset removes everything. Once it has begun, a crash does not stop it.
func (d *database) reset() error {
	b := new(leveldb.Batch)
	b.Put(resetKey(), nil)
	if err := d.write(b, true); err != nil {
		return err
	}
	return d.empty()
}

func (d *database) empty() error {
	b := new(leveldb.Batch)
	it := d.NewIterator(nil, nil)
	defer it.Close()
	for it.Next() {
		if bytes.Equal(it.Key(), resetKey()) {
			continue
		}
		b.Delete(it.Key())
		if b.Len() == resetRecords {
			if err := d.write(b, false); err != nil {
				return err
			}
			b.Reset()
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	b.Delete(resetKey())
	return d.write(b, true)
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
