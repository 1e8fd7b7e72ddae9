package chainstore

import (
	"context"
	"errors"
	"fmt"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// keepBytes is the largest buffer kept for the next write.
const keepBytes = 4 << 20

// Append stores items, in any order and with gaps. Items that are already there
// are skipped. When another item is stored at one of the heights, Append returns
// a *block.Conflict and stores nothing. The first item of an empty chain is its
// tail.
func (c *Chain[H]) Append(ctx context.Context, items ...H) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append %s: %w", c.kind.name, err)
	}
	if len(items) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	reuse(&c.batch)
	w, err := c.stage(&c.batch, items)
	if err != nil || len(w.items) == 0 {
		return err
	}
	if err := c.db.Write(&c.batch, c.sync); err != nil {
		return fmt.Errorf("append %s %d: %w", c.kind.name, items[0].Height(), err)
	}
	c.publish(w)
	return nil
}

// staged is a write that is in a batch and not yet visible.
type staged[H any] struct {
	items []H  // those that are new
	span  span // after the write
}

// stage adds the new ones of items to b. The caller holds c.mu until it has
// written b and called publish, or given up.
func (c *Chain[H]) stage(b *leveldb.Batch, items []H) (staged[H], error) {
	current := c.span.Load()
	switch {
	case current == nil:
		return staged[H]{}, errNotOpen
	case c.failed != nil:
		return staged[H]{}, c.failed
	}
	w, err := c.place(*current, items)
	if err != nil || len(w.items) == 0 {
		return w, err
	}
	for _, item := range w.items {
		c.put(b, item)
	}
	if cap(c.scratch) > keepBytes {
		c.scratch = nil
	}
	c.stageSpan(b, w.span)
	return w, nil
}

// continues reports the common case: items follow each other and the chain,
// and nothing is stored above it.
func continues[H header.Header[H]](s span, items []H) bool {
	next := s.top + 1
	if s.empty() && !items[0].IsZero() {
		next = max(1, items[0].Height())
	} else if s.head != s.top {
		return false
	}
	for _, item := range items {
		if item.IsZero() || item.Height() != next {
			return false
		}
		next++
	}
	return true
}

// place finds out which items are new and where the chain ends with them.
func (c *Chain[H]) place(s span, items []H) (staged[H], error) {
	if continues(s, items) {
		first, last := items[0].Height(), items[len(items)-1].Height()
		w := staged[H]{items: items, span: s.with(first, first, last)}
		w.span.head = w.span.top
		return w, nil
	}
	fresh := make(map[uint64]H, len(items))
	w := staged[H]{span: s}
	for _, item := range items {
		if item.IsZero() || item.Height() == 0 {
			return w, fmt.Errorf("append %s: item has no height", c.kind.name)
		}
		height := item.Height()
		have, stored := fresh[height]
		if !stored && s.mayHold(height) {
			var err error
			have, err = c.load(height)
			if err != nil && !errors.Is(err, header.ErrNotFound) {
				return w, err
			}
			stored = err == nil
		}
		if !stored {
			fresh[height] = item
			w.items = append(w.items, item)
			w.span = w.span.with(w.items[0].Height(), height, height)
		} else if c.kind.digest(have) != c.kind.digest(item) {
			return staged[H]{}, &block.Conflict[H]{Height: height, Have: have, Got: item}
		}
	}
	return w, c.stretch(&w.span, s, fresh)
}

// stretch moves the ends of the chain over everything that now adjoins it.
func (c *Chain[H]) stretch(to *span, stored span, fresh map[uint64]H) error {
	has := func(height uint64) (bool, error) {
		if _, ok := fresh[height]; ok {
			return true, nil
		}
		if !stored.mayHold(height) {
			return false, nil
		}
		key := keyAt(c.kind.body, height)
		return c.db.Has(key[:])
	}
	for to.head < to.top {
		ok, err := has(to.head + 1)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		to.head++
	}
	for to.tail > to.bottom {
		ok, err := has(to.tail - 1)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		to.tail--
	}
	return nil
}

func (c *Chain[H]) put(b *leveldb.Batch, item H) {
	var enc []byte
	enc, c.scratch = c.kind.encode(item, c.scratch)
	height := encodeHeight(item.Height())
	body := keyAt(c.kind.body, item.Height())
	b.Put(body[:], enc)
	index := keyOf(c.kind.index, c.kind.digest(item))
	b.Put(index[:], height[:])
	if alias, ok := c.kind.alias(enc); ok {
		index = keyOf(c.kind.index, alias)
		b.Put(index[:], height[:])
	}
}

// publish makes a written batch visible, then wakes who waited for it.
func (c *Chain[H]) publish(w staged[H]) {
	if len(w.items) == 0 {
		return
	}
	for _, item := range w.items {
		c.recent.add(item.Height(), item, c.kind.size(item))
	}
	c.span.Store(&w.span)
	c.waiting.wake(w.span)
}

// reuse empties a batch and gives its memory back when it has grown large.
func reuse(b *leveldb.Batch) {
	if b.Size() > keepBytes {
		*b = leveldb.Batch{}
		return
	}
	b.Reset()
}
