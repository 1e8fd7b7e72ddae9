package chainstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

var (
	_ header.Store[*block.SignedHeader] = (*Chain[*block.SignedHeader])(nil)
	_ header.Store[*block.Data]         = (*Chain[*block.Data])(nil)
)

var errNotOpen = errors.New("store is not open")

// Chain is a go-header store of one kind of item. Height is the end of the
// contiguous chain; what lies above a gap can be read but does not count.
type Chain[H header.Header[H]] struct {
	kind     kind[H]
	db       *leveldb.DB
	sync     bool
	maxBytes int

	span    atomic.Pointer[span] // nil until opened
	recent  recent[H]
	waiting waiters

	mu       sync.Mutex // one writer
	batch    leveldb.Batch
	scratch  []byte
	failed   error // set when a removal was left half done; no more writes
	onDelete []func(context.Context, uint64) error
}

func newChain[H header.Header[H]](k kind[H], db *leveldb.DB, cfg Config) *Chain[H] {
	const kinds = 2
	return &Chain[H]{
		kind: k, db: db, sync: cfg.Sync, maxBytes: cfg.MaxRangeBytes,
		recent: recent[H]{max: cfg.CacheBytes / kinds},
	}
}

// open reads the heights; it does not look at the items but for the newest.
func (c *Chain[H]) open() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s span
	v, err := c.db.Get(keyNamed(nsMark, c.kind.mark))
	switch {
	case errors.Is(err, leveldb.ErrNotFound):
	case err != nil:
		return fmt.Errorf("%s heights: %w", c.kind.name, err)
	default:
		if s, err = decodeSpan(v); err != nil {
			return fmt.Errorf("%s %w", c.kind.name, err)
		}
	}
	c.failed = nil
	c.recent.reset()
	c.span.Store(&s)
	if s.empty() {
		return nil
	}
	if _, err := c.load(s.head); err != nil {
		return fmt.Errorf("newest %s: %w", c.kind.name, err)
	}
	return nil
}

func (c *Chain[H]) heights() span {
	if s := c.span.Load(); s != nil {
		return *s
	}
	return span{}
}

// Height returns the highest height of the contiguous chain, 0 when empty.
func (c *Chain[H]) Height() uint64 { return c.heights().head }

// Head returns the item at Height, or header.ErrEmptyStore.
func (c *Chain[H]) Head(context.Context, ...header.HeadOption[H]) (H, error) {
	return c.end(func(s span) uint64 { return s.head })
}

// Tail returns the lowest item of the contiguous chain, or header.ErrEmptyStore.
func (c *Chain[H]) Tail(context.Context) (H, error) {
	return c.end(func(s span) uint64 { return s.tail })
}

// end loads the item at one end of the chain, which may move meanwhile.
func (c *Chain[H]) end(pick func(span) uint64) (H, error) {
	for {
		s := c.heights()
		if s.empty() {
			var none H
			return none, header.ErrEmptyStore
		}
		item, err := c.load(pick(s))
		if err != nil && pick(c.heights()) != pick(s) {
			continue
		}
		return item, err
	}
}

// HasAt reports whether height is part of the contiguous chain.
func (c *Chain[H]) HasAt(_ context.Context, height uint64) bool { return c.heights().has(height) }

// Has reports whether Get would find hash.
func (c *Chain[H]) Has(ctx context.Context, hash header.Hash) (bool, error) {
	_, err := c.Get(ctx, hash)
	if errors.Is(err, header.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Get returns the item with exactly this hash. Headers are also found by the
// hash of their encoding.
func (c *Chain[H]) Get(_ context.Context, hash header.Hash) (H, error) {
	var none H
	missing := fmt.Errorf("%s %s: %w", c.kind.name, hash, header.ErrNotFound)
	want, err := block.HashFromBytes(hash)
	if err != nil {
		return none, missing
	}
	key := keyOf(c.kind.index, want)
	v, err := c.db.Get(key[:])
	switch {
	case errors.Is(err, leveldb.ErrNotFound):
		return none, missing
	case err != nil:
		return none, fmt.Errorf("%s %s: %w", c.kind.name, hash, err)
	case len(v) != 8:
		return none, fmt.Errorf("%s %s: index entry has %d bytes, want 8", c.kind.name, hash, len(v))
	}
	item, err := c.load(binary.BigEndian.Uint64(v))
	if errors.Is(err, header.ErrNotFound) {
		return none, missing
	}
	if err != nil {
		return none, err
	}
	if c.kind.digest(item) == want {
		return item, nil
	}
	enc, _ := c.kind.encode(item, nil)
	if alias, ok := c.kind.alias(enc); ok && alias == want {
		return item, nil
	}
	return none, missing
}

// GetByHeight returns the item at a height. A height above Height that is not
// stored is waited for until ctx ends; one below the chain is not found.
func (c *Chain[H]) GetByHeight(ctx context.Context, height uint64) (H, error) {
	for {
		if item, done, err := c.find(height); done {
			return item, err
		}
		item, done, err := c.await(ctx, height)
		if done {
			return item, err
		}
	}
}

// await waits until it is worth to look again, or ctx ended.
func (c *Chain[H]) await(ctx context.Context, height uint64) (item H, done bool, err error) {
	w := c.waiting.join(height)
	defer c.waiting.leave(height, w)
	// What was stored before join wakes nobody.
	if item, done, err = c.find(height); done {
		return item, true, err
	}
	select {
	case <-w.ready:
		return item, false, nil
	case <-ctx.Done():
		return item, true, fmt.Errorf("awaiting %s %d: %w", c.kind.name, height, ctx.Err())
	}
}

// find looks for a height. It is not done when the height may come later.
func (c *Chain[H]) find(height uint64) (item H, done bool, err error) {
	for {
		s := c.heights()
		item, err = c.load(height)
		switch {
		case !errors.Is(err, header.ErrNotFound):
			return item, true, err
		case c.heights() != s:
			continue // a removal or an append came between
		case height == 0 || !s.empty() && height <= s.head:
			return item, true, err
		}
		return item, false, nil
	}
}

// load returns the item at a height from memory or disk, or a wrapped
// header.ErrNotFound.
func (c *Chain[H]) load(height uint64) (item H, err error) {
	s := c.heights()
	if !s.mayHold(height) {
		return item, c.missing(height)
	}
	if item, ok := c.recent.get(height); ok {
		return item, nil
	}
	epoch := c.recent.state()
	key := keyAt(c.kind.body, height)
	v, err := c.db.Get(key[:])
	if errors.Is(err, leveldb.ErrNotFound) {
		return item, c.missing(height)
	}
	if err != nil {
		return item, fmt.Errorf("%s %d: %w", c.kind.name, height, err)
	}
	if item, err = c.parse(height, v); err == nil && height == s.head {
		c.recent.addRead(epoch, height, item, c.kind.size(item))
	}
	return item, err
}

func (c *Chain[H]) parse(height uint64, v []byte) (H, error) {
	item, err := c.kind.decode(v)
	if err == nil && item.Height() != height {
		err = fmt.Errorf("record is of height %d", item.Height())
	}
	if err != nil {
		return item, fmt.Errorf("%s %d in database %s: %w", c.kind.name, height, c.db.Path(), err)
	}
	return item, nil
}

func (c *Chain[H]) missing(height uint64) error {
	return fmt.Errorf("%s %d: %w", c.kind.name, height, header.ErrNotFound)
}
