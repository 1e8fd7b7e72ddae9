package leveldb

import "github.com/syndtr/goleveldb/leveldb"

// Batch collects changes that are applied together. The zero value is ready;
// View.NewBatch makes one whose keys are of that view. It copies what it is
// given and may be reused after Write. Not for concurrent use.
type Batch struct {
	batch  leveldb.Batch
	prefix string
	key    []byte
}

// Put sets key to value.
func (b *Batch) Put(key, value []byte) { b.batch.Put(b.full(key), value) }

// Delete removes key; a key that is not there is no error.
func (b *Batch) Delete(key []byte) { b.batch.Delete(b.full(key)) }

// Len returns the number of changes.
func (b *Batch) Len() int { return b.batch.Len() }

// Size returns the bytes the changes take in the journal.
func (b *Batch) Size() int { return len(b.batch.Dump()) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.batch.Reset() }

func (b *Batch) full(key []byte) []byte {
	if b.prefix == "" {
		return key
	}
	b.key = append(append(b.key[:0], b.prefix...), key...)
	return b.key
}
