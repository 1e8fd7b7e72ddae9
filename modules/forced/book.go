package forced

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// Position is where a transaction was forced.
type Position struct {
	DAHeight uint64
	Index    uint64 // among the blobs of the forced namespace at that height
}

// entry is a transaction that was forced and not found in the chain.
type entry struct {
	at   Position
	hash block.Hash
	tx   []byte // nil where only its absence matters
	end  time.Time
}

// entryBytes is what an entry costs beside the transaction.
const entryBytes = 192

func (e *entry) size() int { return entryBytes + len(e.tx) }

// book is what was forced and not found in the chain, in DA order. Identical
// bytes wait once. It is bounded by bytes: when it is full, no more is read. It is
// used by one goroutine.
type book struct {
	chain Chain
	limit int
	keep  bool // the transactions themselves

	next    uint64 // DA height to read next
	skip    uint64 // index below which nothing at that height counts
	scanned uint64 // block height up to which blocks were looked at
	entries []*entry
	waiting map[block.Hash]*entry
	bytes   int
}

// Chain is what is read of the blocks that count as made: the applied ones or the
// final ones.
type Chain interface {
	// Headers returns headers of [from, to), possibly fewer, from the front.
	Headers(ctx context.Context, from, to uint64) ([]*block.SignedHeader, error)
	// Data returns the data of [from, to), possibly fewer, from the front.
	Data(ctx context.Context, from, to uint64) ([]*block.Data, error)
}

func newBook(first uint64, chain Chain, limit int, keep bool) *book {
	return &book{chain: chain, limit: limit, keep: keep, next: first, waiting: make(map[block.Hash]*entry)}
}

// front returns where the first transaction waits, or what is read next when none
// does. Everything before it was found.
func (b *book) front() Position {
	if len(b.entries) > 0 {
		return b.entries[0].at
	}
	return Position{DAHeight: b.next, Index: b.skip}
}

// resume starts over at a position.
func (b *book) resume(at Position, scanned uint64) {
	b.next, b.skip, b.scanned = at.DAHeight, at.Index, scanned
	b.entries, b.bytes = nil, 0
	clear(b.waiting)
}

// full reports whether no more is read for now.
func (b *book) full() bool { return b.bytes >= b.limit }

// add takes in the page that comes next. A transaction that is in a block made
// since its epoch began counts as taken, whoever read what first.
func (b *book) add(ctx context.Context, p page) error {
	var fresh []*entry
	for i, tx := range p.txs {
		at := Position{p.height, uint64(i)}
		if tx == nil || at.Index < b.skip {
			continue
		}
		hash := block.Sum(tx)
		if _, again := b.waiting[hash]; again {
			continue
		}
		e := &entry{at: at, hash: hash, end: p.span.end}
		if b.keep {
			e.tx = tx
		}
		fresh = append(fresh, e)
	}
	if err := b.lookBack(ctx, fresh, p.span.start); err != nil {
		return err
	}
	b.next, b.skip = p.height+1, 0
	return nil
}

// lookBack takes in fresh entries but those that are found in the blocks made
// since their epoch began.
func (b *book) lookBack(ctx context.Context, fresh []*entry, began time.Time) error {
	if len(fresh) == 0 {
		return nil
	}
	missing := make(map[block.Hash]bool, len(fresh))
	for _, e := range fresh {
		missing[e.hash] = true
	}
	from, err := b.since(ctx, began)
	if err != nil {
		return err
	}
	err = b.each(ctx, from, b.scanned, func(d *block.Data) bool {
		for _, tx := range d.Txs {
			delete(missing, block.Sum(tx))
		}
		return len(missing) > 0
	})
	if err != nil {
		return err
	}
	for _, e := range fresh {
		if missing[e.hash] {
			delete(missing, e.hash) // once, should it be there twice
			b.entries = append(b.entries, e)
			b.waiting[e.hash] = e
			b.bytes += e.size()
		}
	}
	return nil
}

// since returns the first scanned block made at or after a time.
func (b *book) since(ctx context.Context, t time.Time) (uint64, error) {
	var failed error
	n := sort.Search(int(b.scanned), func(i int) bool { //nolint:gosec // heights stay far below 2^63
		if failed != nil {
			return true
		}
		hs, err := b.chain.Headers(ctx, uint64(i)+1, uint64(i)+2) //nolint:gosec // not negative
		if err != nil {
			failed = err
			return true
		}
		return len(hs) > 0 && !hs[0].Time().Before(t) // below the initial height there is none
	})
	if failed != nil {
		return 0, fmt.Errorf("look for the block of a time: %w", failed)
	}
	return uint64(n) + 1, nil //nolint:gosec // not negative
}

// scan looks for what waits in the blocks up to a height that were not looked at.
func (b *book) scan(ctx context.Context, to uint64) error {
	if len(b.entries) == 0 || to <= b.scanned {
		b.scanned = max(b.scanned, to)
		return nil
	}
	err := b.each(ctx, b.scanned+1, to, func(d *block.Data) bool {
		for _, tx := range d.Txs {
			if e, ok := b.waiting[block.Sum(tx)]; ok {
				b.found(e)
			}
		}
		b.scanned = d.Height()
		return true
	})
	b.compact()
	return err
}

func (b *book) found(e *entry) {
	delete(b.waiting, e.hash)
	b.bytes -= e.size()
}

// compact drops what was found.
func (b *book) compact() {
	left := b.entries[:0]
	for _, e := range b.entries {
		if b.waiting[e.hash] == e {
			left = append(left, e)
		}
	}
	clear(b.entries[len(left):])
	b.entries = left
	if len(left) == 0 {
		b.entries = nil
	}
}

// each hands over the data of heights [from, to] until f returns false.
func (b *book) each(ctx context.Context, from, to uint64, f func(*block.Data) bool) error {
	const chunk = 64
	for from <= to {
		ds, err := b.chain.Data(ctx, from, min(to, from+chunk-1)+1)
		if err != nil {
			return fmt.Errorf("read data from block %d: %w", from, err)
		}
		if len(ds) == 0 {
			return fmt.Errorf("data of block %d is not stored", from)
		}
		for _, d := range ds {
			if !f(d) {
				return nil
			}
			from = d.Height() + 1
		}
	}
	return nil
}
