package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// errStore marks failures of the store, which are nobody else's fault.
var errStore = errors.New("store")

// tip returns the head of the store, zero when it is empty, and the height that
// comes next.
func (e *Exchange[H]) tip(ctx context.Context) (prev H, next uint64, err error) {
	prev, err = e.store.Head(ctx)
	switch {
	case errors.Is(err, header.ErrEmptyStore), err == nil && prev.IsZero():
		var none H
		return none, e.genesis.InitialHeight, nil
	case err != nil:
		return prev, 0, fmt.Errorf("%w: head: %w", errStore, err)
	}
	return prev, prev.Height() + 1, nil
}

// next returns the lowest height the store does not have.
func (e *Exchange[H]) next() uint64 { return max(e.store.Height()+1, e.genesis.InitialHeight) }

// extend appends checked items that are meant to follow the head, as far as they
// link, and what is parked behind them. It returns how many of them are in the
// store now. Items at or below the head are compared instead. The caller holds
// e.mu.
func (e *Exchange[H]) extend(ctx context.Context, items []H, from peer.ID) (int, error) {
	prev, next, err := e.tip(ctx)
	if err != nil {
		return 0, err
	}
	known := 0
	for known < len(items) && items[known].Height() < next {
		if _, err := e.compare(ctx, items[known], from); err != nil {
			return known, err
		}
		known++
	}
	good, bad := known, error(nil)
	for last := prev; good < len(items); good++ {
		if bad = e.rules.link(last, items[good]); bad != nil {
			break
		}
		last = items[good]
	}
	if err := e.append(ctx, items[known:good], from); err != nil {
		return known, err
	}
	if good > known {
		return good, errors.Join(bad, e.drain(ctx))
	}
	return good, bad
}

// append writes items that link to the head. The caller holds e.mu.
func (e *Exchange[H]) append(ctx context.Context, items []H, from peer.ID) error {
	if len(items) == 0 {
		return nil
	}
	err := e.store.Append(ctx, items...)
	if conflict, ok := errors.AsType[*block.Conflict[H]](err); ok {
		e.conflict(conflict, from)
		return conflict
	}
	if err != nil {
		return fmt.Errorf("%w: append %d: %w", errStore, items[0].Height(), err)
	}
	e.counts.appended.Add(uint64(len(items)))
	e.status.progressed(time.Now())
	return nil
}

// drain appends what is parked right behind the head. The caller holds e.mu.
func (e *Exchange[H]) drain(ctx context.Context) error {
	if n, _ := e.park.size(); n == 0 {
		return nil
	}
	for {
		prev, next, err := e.tip(ctx)
		if err != nil {
			return err
		}
		e.park.upTo(next - 1)
		items := e.park.run(next, 4*maxItems)
		if len(items) == 0 {
			return nil
		}
		good := 0
		for ; good < len(items); good++ {
			item, ok := e.settle(ctx, prev, items[good])
			if !ok {
				e.park.remove(items[good].Height())
				break
			}
			items[good], prev = item, item
		}
		if good == 0 {
			return nil // its place is open again: fetched by range
		}
		if err := e.append(ctx, items[:good], ""); err != nil {
			for _, item := range items[:good] {
				e.park.remove(item.Height())
			}
			return err
		}
	}
}

// settle links a parked item to its predecessor, mending what may be mended.
func (e *Exchange[H]) settle(ctx context.Context, prev, item H) (H, bool) {
	if e.rules.link(prev, item) == nil {
		return item, true
	}
	if !e.rules.ready(item) {
		return item, false
	}
	heads, err := e.rules.await(ctx, item)
	if err != nil {
		return item, false
	}
	return e.rules.mend(prev, item, heads)
}

// at returns the stored item of a height. It does not wait, as GetByHeight does:
// the store may have been cut back since its height was read.
func (e *Exchange[H]) at(ctx context.Context, height uint64) (H, error) {
	items, err := e.store.GetRange(ctx, height, height+1)
	if err != nil {
		var none H
		return none, err //nolint:wrapcheck // callers say what they wanted
	}
	return items[0], nil
}

// compare holds a checked item against the stored one of its height. It reports
// whether they are the same; two that differ are a conflict.
func (e *Exchange[H]) compare(ctx context.Context, got H, from peer.ID) (bool, error) {
	have, err := e.at(ctx, got.Height())
	if err != nil {
		return false, fmt.Errorf("%w: get %d: %w", errStore, got.Height(), err)
	}
	if have.Digest() == got.Digest() {
		return true, nil
	}
	c := &block.Conflict[H]{Height: got.Height(), Have: have, Got: got}
	e.conflict(c, from)
	return false, c
}

// conflict reports two items of one height, once per item. The caller holds e.mu.
func (e *Exchange[H]) conflict(c *block.Conflict[H], from peer.ID) {
	if !e.reported.first(c.Got.Digest()) {
		return
	}
	e.counts.conflicts.Add(1)
	e.status.fail(c)
	e.log.Warn("conflicting items", zap.Uint64("height", c.Height), zap.Stringer("have", c.Have.Digest()),
		zap.Stringer("got", c.Got.Digest()), zap.Stringer("peer", from))
	if e.conflicts != nil {
		e.conflicts(c, from)
	}
}
