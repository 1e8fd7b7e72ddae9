package execution

import (
	"bytes"
	"context"
)

// Get returns the current value of a key.
func (k *KV) Get(key []byte) (value []byte, found bool, err error) { return k.lookup(key) }

func (k *KV) lookup(key []byte) (value []byte, found bool, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.chain == nil {
		return nil, false, nil
	}
	value, err = k.tree.Get(userKey(key))
	return bytes.Clone(value), value != nil, err
}

// list gathers one page and then calls fn, so that a slow reader does not hold
// up the next block.
func (k *KV) list(ctx context.Context, r listRange, fn func(key, value []byte) error) error {
	page, err := k.page(r)
	if err != nil {
		return err
	}
	for _, e := range page {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

type kvEntry struct{ key, value []byte }

func (k *KV) page(r listRange) ([]kvEntry, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.chain == nil {
		return nil, nil
	}
	start := userKey(r.after)
	if r.after != nil {
		start = append(start, 0) // the first key above
	}
	it, err := k.tree.Iterator(start, []byte{userPrefix + 1}, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = it.Close() }() // reads only
	var page []kvEntry
	for size := 0; it.Valid() && size < storePageBytes && (r.limit == 0 || len(page) < r.limit); it.Next() {
		e := kvEntry{key: bytes.Clone(it.Key()[1:]), value: bytes.Clone(it.Value())}
		size += len(e.key) + len(e.value)
		page = append(page, e)
	}
	return page, it.Error()
}

func userKey(key []byte) []byte {
	return append(append(make([]byte, 0, 2+len(key)), userPrefix), key...)
}
