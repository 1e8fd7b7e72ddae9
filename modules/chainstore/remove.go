package chainstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// removeChunk is how many heights one batch of a removal covers.
const removeChunk = 1024

// OnDelete registers a function that DeleteRange calls before it removes a
// height. It must not write to the chain. Its error stops the removal.
func (c *Chain[H]) OnDelete(handler func(ctx context.Context, height uint64) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onDelete = append(c.onDelete, handler)
}

// DeleteRange removes the heights from ≤ height < to, which must reach one end
// of the chain. It works in batches from that end: when it stops early, because
// of a handler, ctx or the disk, a contiguous chain is left. When nothing of the
// contiguous chain is left, items above gaps go too.
func (c *Chain[H]) DeleteRange(ctx context.Context, from, to uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.heights()
	switch {
	case from >= to:
		return fmt.Errorf("delete %s range [%d, %d): %w", c.kind.name, from, to, header.ErrRangeMixUp)
	case c.failed != nil:
		return c.failed
	case s.empty() || to <= s.bottom || from > s.top:
		return nil
	case from <= s.tail && to > s.head:
		return c.deleteDown(ctx, s.bottom)
	case from <= s.tail:
		return c.deleteUp(ctx, to)
	case to > s.head:
		return c.deleteDown(ctx, from)
	}
	return fmt.Errorf("delete %s range [%d, %d): it would leave a gap in [%d, %d]", c.kind.name, from, to, s.tail, s.head)
}

// deleteUp removes everything below to, which is part of the chain.
func (c *Chain[H]) deleteUp(ctx context.Context, to uint64) error {
	for {
		s := c.heights()
		if s.bottom >= to {
			return nil
		}
		end := min(to, s.bottom+removeChunk)
		next, stop := s.bottom, error(nil)
		for next < end {
			if stop = c.announce(ctx, next); stop != nil {
				break
			}
			next++
		}
		left := s
		left.bottom, left.tail = next, max(s.tail, next)
		if err := errors.Join(c.drop(s.bottom, next, left), stop); err != nil {
			return err
		}
	}
}

// deleteDown removes from and everything above it.
func (c *Chain[H]) deleteDown(ctx context.Context, from uint64) error {
	for {
		s := c.heights()
		if s.top < from || s.empty() {
			return nil
		}
		low := max(from, s.top-min(s.top, removeChunk-1))
		if low <= s.tail {
			low = s.bottom // without its tail the chain is empty
		}
		next, stop := s.top+1, error(nil)
		for next > low {
			if stop = c.announce(ctx, next-1); stop != nil {
				break
			}
			next--
		}
		if next <= s.tail && next > s.bottom {
			next = s.tail + 1
		}
		if err := errors.Join(c.drop(next, s.top+1, s.upTo(next-1)), stop); err != nil {
			return err
		}
	}
}

// announce calls the handlers for a height that is stored.
func (c *Chain[H]) announce(ctx context.Context, height uint64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s %d: %w", c.kind.name, height, err)
	}
	if len(c.onDelete) == 0 {
		return nil
	}
	if _, err := c.load(height); errors.Is(err, header.ErrNotFound) {
		return nil
	}
	for _, handler := range c.onDelete {
		if err := handler(ctx, height); err != nil {
			return fmt.Errorf("delete %s %d: %w", c.kind.name, height, err)
		}
	}
	return nil
}

// drop removes from ≤ height < to in one batch that leaves the given heights.
func (c *Chain[H]) drop(from, to uint64, left span) error {
	if from >= to {
		return nil
	}
	reuse(&c.batch)
	start, limit := keyAt(c.kind.body, from), keyAt(c.kind.body, to)
	if err := c.erase(&c.batch, start[:], limit[:], nil); err != nil {
		return err
	}
	c.stageSpan(&c.batch, left)
	if err := c.db.Write(&c.batch, c.sync); err != nil {
		return fmt.Errorf("delete %s [%d, %d): %w", c.kind.name, from, to, err)
	}
	c.replace(left)
	return nil
}

func (c *Chain[H]) stageSpan(b *leveldb.Batch, s span) {
	heights := s.encode()
	b.Put(keyNamed(nsMark, c.kind.mark), heights[:])
}

// replace makes the heights left by a removal visible after they were written.
func (c *Chain[H]) replace(s span) {
	old := c.span.Swap(&s)
	if s.top < old.top {
		c.recent.reset() // other items may come to stand at these heights
	}
	c.recent.forgetBelow(s.bottom)
}

// erase adds to b the removal of the items stored from start to limit and of
// their index entries. It calls flush, if any, whenever b is large. Of an item that
// cannot be read the index entry stays: no read by hash finds it.
func (c *Chain[H]) erase(b *leveldb.Batch, start, limit []byte, flush func() error) error {
	it := c.db.NewIterator(start, limit)
	defer it.Close()
	for it.Next() {
		b.Delete(it.Key())
		if item, err := c.parse(binary.BigEndian.Uint64(it.Key()[2:]), it.Value()); err == nil {
			for _, key := range c.indexKeys(item, it.Value()) {
				b.Delete(key[:])
			}
		}
		if flush != nil && b.Len() >= sweepRecords {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return it.Err()
}
