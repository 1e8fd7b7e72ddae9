package execution

import (
	"bytes"

	corestore "cosmossdk.io/core/store"
	"github.com/cosmos/iavl"
	iavldb "github.com/cosmos/iavl/db"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// nodeBytes is what a node of the tree takes in memory, roughly.
const nodeBytes = 512

// openTree returns the tree kept in d, not loaded yet. What it writes is only
// gathered in pending: the caller writes that in one batch together with its own
// records, so that tree and records cannot disagree after a crash.
func openTree(d *database, pending *leveldb.Batch, cacheBytes int) *iavl.MutableTree {
	// Without iavl's second index of the latest values: it doubles the writes and
	// makes a rollback as long as the whole state.
	return iavl.NewMutableTree(&treeDB{db: d, pending: pending}, cacheBytes/nodeBytes, true, iavl.NewNopLogger())
}

// treeDB is the database iavl sees.
type treeDB struct {
	db      *database
	pending *leveldb.Batch
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
func (t *treeDB) NewBatch() corestore.Batch { return treeBatch{t.pending} }

// NewBatchWithSize returns a batch that adds to the pending one.
func (t *treeDB) NewBatchWithSize(int) corestore.Batch { return treeBatch{t.pending} }

// Close does nothing: the executor owns the database.
func (t *treeDB) Close() error { return nil }

// treeBatch forwards to the pending batch. Its size is always zero, so that iavl
// never decides to write half of a version.
type treeBatch struct{ pending *leveldb.Batch }

func (b treeBatch) Set(key, value []byte) error { b.pending.Put(key, value); return nil }
func (b treeBatch) Delete(key []byte) error     { b.pending.Delete(key); return nil }
func (treeBatch) Write() error                  { return nil }
func (treeBatch) WriteSync() error              { return nil }
func (treeBatch) Close() error                  { return nil }
func (treeBatch) GetByteSize() (int, error)     { return 0, nil }

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
