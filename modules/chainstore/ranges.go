package chainstore

import (
	"context"
	"encoding/binary"
	"fmt"

	header "github.com/celestiaorg/go-header"
)

// maxRangeItems is the most items of one range read, however small they are.
const maxRangeItems = 1024

// GetRangeByHeight returns the items from behind from up to before to; see
// GetRange.
func (c *Chain[H]) GetRangeByHeight(ctx context.Context, from H, to uint64) ([]H, error) {
	if from.IsZero() {
		return nil, fmt.Errorf("%s range: no item to start from", c.kind.name)
	}
	return c.GetRange(ctx, from.Height()+1, to)
}

// GetRange returns items of the heights from ≤ height < to without a hole. It
// may return fewer than asked for, but at least the first: where the chain ends,
// after Config.MaxRangeBytes and after 1024 items. It never waits; a first
// height that is not part of the chain is header.ErrNotFound.
func (c *Chain[H]) GetRange(ctx context.Context, from, to uint64) ([]H, error) {
	s := c.heights()
	switch {
	case from >= to:
		return nil, fmt.Errorf("%s range [%d, %d): %w", c.kind.name, from, to, header.ErrRangeMixUp)
	case !s.has(from):
		return nil, c.missing(from)
	}
	r := rangeRead[H]{c: c, next: from, to: min(to, s.head+1, from+maxRangeItems)}
	r.items = make([]H, 0, r.to-from)
	r.takeRecent()
	if r.full {
		return r.items, nil
	}
	if err := r.takeStored(ctx); err != nil {
		return nil, err
	}
	if len(r.items) == 0 {
		return nil, c.missing(from) // removed meanwhile
	}
	return r.items, nil
}

// rangeRead collects the items of one range.
type rangeRead[H header.Header[H]] struct {
	c     *Chain[H]
	next  uint64
	to    uint64
	items []H
	bytes int
	full  bool
}

// take adds the next item unless it is one too many.
func (r *rangeRead[H]) take(item H) {
	size := r.c.kind.size(item)
	if len(r.items) > 0 && r.bytes+size > r.c.maxBytes {
		r.full = true
		return
	}
	r.items = append(r.items, item)
	r.bytes += size
	r.next++
	r.full = r.next >= r.to
}

// takeRecent takes what is in memory, up to the first item that is not.
func (r *rangeRead[H]) takeRecent() {
	recent := &r.c.recent
	recent.mu.RLock()
	defer recent.mu.RUnlock()
	for !r.full {
		item, ok := recent.at(r.next)
		if !ok {
			return
		}
		r.take(item)
	}
}

// takeStored takes the rest from disk, but for items that are in memory too.
func (r *rangeRead[H]) takeStored(ctx context.Context) error {
	start, limit := keyAt(r.c.kind.body, r.next), keyAt(r.c.kind.body, r.to)
	it := r.c.db.NewIterator(start[:], limit[:])
	defer it.Close()
	for !r.full && it.Next() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s range: %w", r.c.kind.name, err)
		}
		if binary.BigEndian.Uint64(it.Key()[2:]) != r.next {
			break
		}
		if item, ok := r.c.recent.get(r.next); ok {
			r.take(item)
			continue
		}
		if len(r.items) > 0 && r.bytes+len(it.Value()) > r.c.maxBytes {
			break
		}
		item, err := r.c.parse(r.next, it.Value())
		if err != nil {
			return err
		}
		r.take(item)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("%s range: %w", r.c.kind.name, err)
	}
	return nil
}
