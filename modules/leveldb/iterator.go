package leveldb

import (
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// Iterator walks over the keys of a range as they were when it was made. It
// starts before the first one:
//
//	it := db.NewIterator(start, limit)
//	defer it.Close()
//	for it.Next() { … it.Key(), it.Value() … }
//	return it.Err()
type Iterator struct {
	db      *DB
	it      iterator.Iterator
	strip   int // bytes of the view's prefix
	reverse bool
	started bool
	err     error
}

// NewIterator walks start ≤ key < limit upwards. A nil bound is open.
func (db *DB) NewIterator(start, limit []byte) *Iterator {
	return db.iterate(start, limit, false)
}

// NewReverseIterator walks start ≤ key < limit downwards. A nil bound is open.
func (db *DB) NewReverseIterator(start, limit []byte) *Iterator {
	return db.iterate(start, limit, true)
}

func (db *DB) iterate(start, limit []byte, reverse bool) *Iterator {
	l := db.open.Load()
	if l == nil {
		return &Iterator{db: db, it: iterator.NewEmptyIterator(nil), err: ErrClosed}
	}
	return &Iterator{db: db, it: l.NewIterator(&util.Range{Start: start, Limit: limit}, nil), reverse: reverse}
}

// Next moves to the next key in the iterator's direction and reports whether
// there is one.
func (i *Iterator) Next() bool {
	if !i.started && i.reverse {
		i.started = true
		return i.it.Last()
	}
	if i.reverse {
		return i.it.Prev()
	}
	return i.it.Next()
}

// Key returns the current key, without the view's prefix. It is valid until the
// next call of Next or Close, and read only.
func (i *Iterator) Key() []byte { return i.it.Key()[i.strip:] }

// Value returns the current value. It is valid until the next call of Next or
// Close, and read only.
func (i *Iterator) Value() []byte { return i.it.Value() }

// Err returns what ended the walk early, if anything.
func (i *Iterator) Err() error {
	if i.err != nil {
		return i.err
	}
	return i.db.explain(i.it.Error())
}

// Close releases the iterator. It may be called more than once.
func (i *Iterator) Close() { i.it.Release() }
