package leveldb

import "errors"

// View is the part of a database whose keys start with a prefix. Keys go in and
// come out without it. No view's prefix may be the start of another's.
type View struct {
	db     *DB
	prefix string
}

var errForeignBatch = errors.New("batch was made for another view")

// View returns the view of the keys that start with prefix.
func (db *DB) View(prefix string) *View { return &View{db: db, prefix: prefix} }

// NewBatch returns an empty batch for the view. DB.Write and View.Write take it.
func (v *View) NewBatch() *Batch { return &Batch{prefix: v.prefix} }

// Get returns a copy of the value of key, or ErrNotFound.
func (v *View) Get(key []byte) ([]byte, error) { return v.db.Get(v.full(key)) }

// Has reports whether key is there.
func (v *View) Has(key []byte) (bool, error) { return v.db.Has(v.full(key)) }

// Write applies a batch made by NewBatch; see DB.Write.
func (v *View) Write(b *Batch, sync bool) error {
	if b.prefix != v.prefix {
		return errForeignBatch
	}
	return v.db.Write(b, sync)
}

// NewIterator walks start ≤ key < limit upwards. A nil bound is that of the view.
func (v *View) NewIterator(start, limit []byte) *Iterator { return v.iterate(start, limit, false) }

// NewReverseIterator walks start ≤ key < limit downwards. A nil bound is that of
// the view.
func (v *View) NewReverseIterator(start, limit []byte) *Iterator {
	return v.iterate(start, limit, true)
}

func (v *View) iterate(start, limit []byte, reverse bool) *Iterator {
	end := v.end()
	if limit != nil {
		end = v.full(limit)
	}
	i := v.db.iterate(v.full(start), end, reverse)
	i.strip = len(v.prefix)
	return i
}

func (v *View) full(key []byte) []byte {
	return append(append(make([]byte, 0, len(v.prefix)+len(key)), v.prefix...), key...)
}

// end returns the first key behind the view, or nil when there is none.
func (v *View) end() []byte {
	end := []byte(v.prefix)
	for n := len(end) - 1; n >= 0; n-- {
		if end[n] < 0xff {
			end[n]++
			return end[:n+1]
		}
	}
	return nil
}
