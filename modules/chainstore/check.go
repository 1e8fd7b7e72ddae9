package chainstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// Faults are what Check finds.
type Faults struct {
	// Height is the lowest one with a record that is missing, cannot be read or does
	// not fit the ones around it, and Problem says what is wrong with it. 0 is none.
	Height  uint64
	Problem string
	// Unindexed is how many items Get does not find by their hash; Reindex helps.
	Unindexed int
}

// Check compares all records of the chain with each other, up to the first fault.
// With headersOnly no data is expected. Its error is one of the database or of ctx.
func (s *Store) Check(ctx context.Context, headersOnly bool) (f Faults, err error) {
	if s.progress.Load() == nil {
		return f, errNotOpen
	}
	c := checker{s: s, p: s.marks(), headersOnly: headersOnly}
	err = c.walk(ctx)
	f = Faults{Unindexed: c.unindexed}
	if wrong, ok := errors.AsType[*fault](err); ok {
		f.Height, f.Problem = wrong.height, wrong.Error()
		return f, nil
	}
	return f, err
}

// fault is a record that is wrong.
type fault struct {
	height uint64
	what   string
}

func (f *fault) Error() string { return f.what }

func faultf(height uint64, format string, args ...any) error {
	return &fault{height, fmt.Sprintf(format, args...)}
}

type checker struct {
	s           *Store
	p           progress
	headersOnly bool
	prev        *block.SignedHeader
	unindexed   int
}

func (c *checker) walk(ctx context.Context) error {
	headers := c.s.headers.heights()
	for h := headers.tail; h <= headers.head && !headers.empty(); h++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.at(h); err != nil {
			return err
		}
	}
	switch g, err := c.s.readGenesis(); {
	case err != nil:
		return err
	case g == nil || !c.p.hasState:
		return nil
	case c.p.state >= g.initialHeight && c.p.state > headers.head:
		return faultf(headers.head+1, "block %d is applied, and headers are stored to %d only", c.p.state, headers.head)
	case c.p.final > c.p.state:
		return faultf(c.p.state+1, "block %d is final, and blocks are applied to %d only", c.p.final, c.p.state)
	}
	return nil
}

// at checks the records of a height.
func (c *checker) at(height uint64) error {
	h, err := readItem(c, c.s.headers, height)
	if err != nil {
		return err
	}
	if c.prev != nil {
		if err := block.VerifyLink(c.prev, h); err != nil {
			return faultf(height, "header %d does not follow the one before: %v", height, err)
		}
	}
	c.prev = h
	if data := c.s.data.heights(); data.has(height) {
		d, err := readItem(c, c.s.data, height)
		if err != nil {
			return err
		}
		if err := block.VerifyData(h, d); err != nil {
			return faultf(height, "data %d is not what its header commits to: %v", height, err)
		}
	} else if !c.headersOnly && height <= c.p.state {
		return faultf(height, "block %d is applied, and its data is not stored", height)
	}
	if c.p.hasState && height <= c.p.state {
		return c.state(h)
	}
	return nil
}

// state checks the state after an applied block.
func (c *checker) state(h *block.SignedHeader) error {
	st, err := c.s.readState(h.Height())
	switch {
	case isDatabase(err):
		return err
	case err != nil:
		return faultf(h.Height(), "%v", err)
	case st.LastHeight != h.Height() || !bytes.Equal(st.LastHeaderHash, h.Hash()):
		return faultf(h.Height(), "block %d is stored with hash %s, but block %d with hash %X was applied", h.Height(), h.Digest(), st.LastHeight, st.LastHeaderHash)
	}
	return nil
}

// readItem reads an item from the disk and looks it up by its hashes.
func readItem[H header.Header[H]](c *checker, of *Chain[H], height uint64) (item H, err error) {
	key := keyAt(of.kind.body, height)
	v, err := of.db.Get(key[:])
	switch {
	case errors.Is(err, leveldb.ErrNotFound):
		return item, faultf(height, "%s %d is missing", of.kind.name, height)
	case err != nil:
		return item, err
	}
	if item, err = of.parse(height, v); err != nil {
		return item, faultf(height, "%v", err)
	}
	missing, err := of.unindexed(item, v)
	c.unindexed += min(1, len(missing))
	return item, err
}

// isDatabase reports whether an error is one of the database below, not of what it
// holds.
func isDatabase(err error) bool {
	_, damaged := errors.AsType[*leveldb.CorruptionError](err)
	return damaged || errors.Is(err, leveldb.ErrClosed)
}

// indexKeys returns the keys an item is found by.
func (c *Chain[H]) indexKeys(item H, enc []byte) []indexKey {
	keys := []indexKey{keyOf(c.kind.index, c.kind.digest(item))}
	if alias, ok := c.kind.alias(enc); ok {
		keys = append(keys, keyOf(c.kind.index, alias))
	}
	return keys
}

// unindexed returns the keys that do not lead to an item.
func (c *Chain[H]) unindexed(item H, enc []byte) (missing []indexKey, err error) {
	for _, key := range c.indexKeys(item, enc) {
		v, err := c.db.Get(key[:])
		switch {
		case errors.Is(err, leveldb.ErrNotFound):
		case err != nil:
			return nil, err
		case len(v) == 8 && binary.BigEndian.Uint64(v) == item.Height():
			continue
		}
		missing = append(missing, key)
	}
	return missing, nil
}

// Reindex writes the index entries that are missing, and returns of how many items.
// It reaches the disk.
func (s *Store) Reindex(ctx context.Context) (items int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	headers, err := s.headers.reindex(ctx)
	if err != nil {
		return headers, fmt.Errorf("rebuild the index of headers: %w", err)
	}
	data, err := s.data.reindex(ctx)
	if err != nil {
		return headers + data, fmt.Errorf("rebuild the index of data: %w", err)
	}
	return headers + data, nil
}

func (c *Chain[H]) reindex(ctx context.Context) (items int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &leveldb.Batch{}
	start := keyAt(c.kind.body, 0)
	it := c.db.NewIterator(start[:], keyEnd(c.kind.body))
	defer it.Close()
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return items, err
		}
		height := binary.BigEndian.Uint64(it.Key()[2:])
		item, err := c.parse(height, it.Value())
		if err != nil {
			continue // a rollback removes it
		}
		missing, err := c.unindexed(item, it.Value())
		if err != nil {
			return items, err
		}
		for _, key := range missing {
			v := encodeHeight(height)
			b.Put(key[:], v[:])
		}
		items += min(1, len(missing))
		if b.Len() >= sweepRecords {
			if err := c.db.Write(b, false); err != nil {
				return items, err
			}
			b.Reset()
		}
	}
	if err := it.Err(); err != nil {
		return items, err
	}
	return items, c.db.Write(b, true)
}
