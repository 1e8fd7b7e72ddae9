package execution

import (
	"bytes"
	"sync/atomic"

	corestore "cosmossdk.io/core/store"
	"github.com/cosmos/iavl"
	iavldb "github.com/cosmos/iavl/db"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// nodeBytes is what a node of the tree takes in memory, roughly, unless its value
// is long.
const nodeBytes = 512

// openTree returns the tree kept in db, not loaded yet. Without iavl's second
// index of the latest values: it doubles the writes and makes a rollback as long
// as the whole state.
func openTree(db *treeDB, cacheBytes int) *iavl.MutableTree {
	return iavl.NewMutableTree(db, cacheBytes/nodeBytes, true, iavl.NewNopLogger())
}

// treeDB is the database iavl sees. What iavl writes is only gathered in pending:
// the executor writes that in one batch together with its own records, so that
// tree and records cannot disagree after a crash.
type treeDB struct {
	db      *database
	pending *leveldb.Batch
	// long sums the long nodes that went by. iavl's cache counts nodes, not bytes:
	// once these alone would fill it, the executor starts over with an empty one.
	long atomic.Int64
}

func (t *treeDB) cached(node []byte) {
	if len(node) > nodeBytes {
		t.long.Add(int64(len(node)))
	}
}

var _ iavldb.DB = (*treeDB)(nil)

// Get returns the stored value, nil when there is none.
func (t *treeDB) Get(key []byte) ([]byte, error) {
	value, found, err := t.db.get(key)
	if err != nil || !found {
		return nil, err
	}
	if value == nil {
		value = []byte{} // nil would mean that there is none
	}
	t.cached(value)
	return value, nil
}

// Has reports whether the key is stored.
func (t *treeDB) Has(key []byte) (bool, error) {
	_, found, err := t.db.get(key)
	return found, err
}

// Iterator returns the entries of [start, end) in ascending order.
func (t *treeDB) Iterator(start, end []byte) (corestore.Iterator, error) {
	return newTreeIterator(t.db.NewIterator(start, end), start, end), nil
}

// ReverseIterator returns the entries of [start, end) in descending order.
func (t *treeDB) ReverseIterator(start, end []byte) (corestore.Iterator, error) {
	return newTreeIterator(t.db.NewReverseIterator(start, end), start, end), nil
}

// NewBatch returns a batch that adds to the pending one.
func (t *treeDB) NewBatch() corestore.Batch { return treeBatch{t} }

// NewBatchWithSize returns a batch that adds to the pending one.
func (t *treeDB) NewBatchWithSize(int) corestore.Batch { return treeBatch{t} }

// Close does nothing: the executor owns the database.
func (t *treeDB) Close() error { return nil }

// treeBatch forwards to the pending batch. Its size is always zero, so that iavl
// never decides to write half of a version.
type treeBatch struct{ db *treeDB }

func (b treeBatch) Set(key, value []byte) error {
	b.db.pending.Put(key, value)
	b.db.cached(value)
	return nil
}

func (b treeBatch) Delete(key []byte) error { b.db.pending.Delete(key); return nil }
func (treeBatch) Write() error              { return nil }
func (treeBatch) WriteSync() error          { return nil }
func (treeBatch) Close() error              { return nil }
func (treeBatch) GetByteSize() (int, error) { return 0, nil }

// treeIterator stands on an entry from the start, as iavl expects.
type treeIterator struct {
	it         *leveldb.Iterator
	start, end []byte
	valid      bool
}

func newTreeIterator(it *leveldb.Iterator, start, end []byte) *treeIterator {
	return &treeIterator{it: it, start: start, end: end, valid: it.Next()}
}

func (i *treeIterator) Domain() (start, end []byte) { return i.start, i.end }
func (i *treeIterator) Valid() bool                 { return i.valid }
func (i *treeIterator) Next()                       { i.valid = i.it.Next() }
func (i *treeIterator) Key() []byte                 { return bytes.Clone(i.it.Key()) }
func (i *treeIterator) Value() []byte               { return bytes.Clone(i.it.Value()) }
func (i *treeIterator) Error() error                { return i.it.Err() }
func (i *treeIterator) Close() error                { i.it.Close(); return nil }
