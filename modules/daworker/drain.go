package daworker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/block"
)

// An append takes at most this much, so that readers behind the stores are not
// kept waiting.
const (
	appendItems = 512
	appendBytes = 4 << 20
)

// advance moves into the stores whatever can go there now. Items stay pending
// until they are stored, so it may be repeated after an error.
func (a *assembler) advance(ctx context.Context) error {
	a.swept = min(a.swept, a.p.Headers.Height()) // the store was rolled back
	a.promote(ctx)
	fresh, err := a.drainHeaders(ctx)
	if err != nil {
		return err
	}
	if err := a.sweep(ctx); err != nil {
		return err
	}
	if a.p.HeadersOnly {
		return nil
	}
	if err := a.drainData(ctx, fresh); err != nil {
		return err
	}
	a.sweepStored()
	return nil
}

// nextHeight returns the height a store needs next.
func (a *assembler) nextHeight(height uint64) uint64 { return max(height+1, a.p.Genesis.InitialHeight) }

// drainHeaders appends pending headers for as long as they link, and returns
// them.
func (a *assembler) drainHeaders(ctx context.Context) ([]*block.SignedHeader, error) {
	var all []*block.SignedHeader
	for {
		from := a.nextHeight(a.p.Headers.Height())
		batch, err := a.linked(ctx, from)
		if err != nil || len(batch) == 0 {
			return all, err
		}
		n, err := appendTo(a.p.LocalCtx(ctx), a.p.Headers, batch)
		if err != nil {
			return all, fmt.Errorf("append %d headers from %d: %w", len(batch), from, err)
		}
		batch = batch[:n]
		a.stats.HeadersAppended += uint64(len(batch))
		all = append(all, batch...)
		if a.p.Headers.Height() < from { // refused or rolled back meanwhile; look again next time
			return all, nil
		}
	}
}

// appendTo appends items and returns how many. P2P may have stored another one
// at some height: those before it are appended, and the sweep contests ours.
func appendTo[H header.Header[H]](ctx context.Context, s Store[H], items []H) (int, error) {
	err := s.Append(ctx, items...)
	var conflict *block.Conflict[H]
	if !errors.As(err, &conflict) {
		return len(items), err
	}
	first := items[0].Height()
	if conflict.Height <= first || conflict.Height-first >= uint64(len(items)) {
		return 0, nil
	}
	items = items[:conflict.Height-first]
	if err := s.Append(ctx, items...); !errors.As(err, &conflict) {
		return len(items), err
	}
	return 0, nil // still moving; look again next time
}

// linked returns pending headers that follow the stored ones, as many as go
// into one append.
func (a *assembler) linked(ctx context.Context, from uint64) ([]*block.SignedHeader, error) {
	if len(a.pending.headers[from]) == 0 {
		return nil, nil
	}
	var prev *block.SignedHeader
	if from > a.p.Genesis.InitialHeight {
		var err error
		if prev, err = a.storedHeader(ctx, from-1); err != nil || prev == nil {
			return nil, err
		}
	}
	var (
		batch []*block.SignedHeader
		size  int
		now   = a.p.Now()
	)
	a.reportRefuted(prev, from)
	for height := from; len(batch) < appendItems && size < appendBytes; height++ {
		next := a.follower(prev, height, now)
		if next == nil {
			break
		}
		batch = append(batch, next)
		size += next.Size()
		prev = next
	}
	return batch, nil
}

// follower returns the first header in DA order that links to prev, which is nil
// at the initial height.
func (a *assembler) follower(prev *block.SignedHeader, height uint64, now time.Time) *block.SignedHeader {
	for _, i := range a.pending.headers[height] {
		switch {
		case i.header.Time().After(now.Add(block.MaxFuture)), a.p.Refuted(i.header.Digest()):
		case a.follows(prev, i.header):
			return i.header
		}
	}
	return nil
}

// drainData appends the data of stored headers: rebuilt from the header for
// empty blocks, from the header and the committed transactions for others.
func (a *assembler) drainData(ctx context.Context, fresh []*block.SignedHeader) error {
	for {
		from := a.nextHeight(a.p.Data.Height())
		headers, err := a.headersFrom(ctx, from, fresh)
		if err != nil || len(headers) == 0 {
			return err
		}
		last, ok, err := a.lastDataHash(ctx, from)
		if err != nil || !ok {
			return err
		}
		batch := a.bodies(headers, last)
		if len(batch) == 0 {
			return nil
		}
		n, err := appendTo(a.p.LocalCtx(ctx), a.p.Data, batch)
		if err != nil {
			return fmt.Errorf("append %d data from %d: %w", len(batch), from, err)
		}
		a.stats.DataAppended += uint64(n) //nolint:gosec // a count
		if a.p.Data.Height() < from {
			return nil
		}
	}
}

// headersFrom returns the headers to find data for. It does not look again at one
// that was found wanting before, unless something came for it.
func (a *assembler) headersFrom(ctx context.Context, from uint64, fresh []*block.SignedHeader) ([]*block.SignedHeader, error) {
	to := a.p.Headers.Height()
	if from > to {
		return nil, nil
	}
	if m := a.missing; m != nil && m.Height() == from && !a.holdsData(block.Hash(m.Header.DataHash)) {
		now, err := a.storedHeader(ctx, from) // a rollback may have replaced it
		if err != nil || now == nil || now.Digest() == m.Digest() {
			return nil, err
		}
	}
	if len(fresh) > 0 && from >= fresh[0].Height() && from-fresh[0].Height() < uint64(len(fresh)) {
		rest := fresh[from-fresh[0].Height():]
		return rest[:min(len(rest), appendItems)], nil
	}
	hs, err := a.p.Headers.GetRange(ctx, from, min(from+appendItems, to+1))
	if err != nil && !errors.Is(err, header.ErrNotFound) {
		return nil, fmt.Errorf("read headers from %d: %w", from, err)
	}
	return hs, nil
}

func (a *assembler) holdsData(c block.Hash) bool {
	return len(a.pending.data[c])+len(a.quarantine.data[c])+len(a.unproven.data[c]) > 0
}

// lastDataHash returns the hash of the data before a height; ok is false when
// the store does not have it.
func (a *assembler) lastDataHash(ctx context.Context, height uint64) (hash []byte, ok bool, err error) {
	if height == a.p.Genesis.InitialHeight {
		return nil, true, nil
	}
	ds, err := a.p.Data.GetRange(ctx, height-1, height)
	if err != nil && !errors.Is(err, header.ErrNotFound) {
		return nil, false, fmt.Errorf("read data %d: %w", height-1, err)
	}
	if len(ds) == 0 {
		return nil, false, nil
	}
	return ds[0].Hash(), true, nil
}

// bodies returns the data of the headers, up to the first that is missing.
func (a *assembler) bodies(headers []*block.SignedHeader, last []byte) []*block.Data {
	var (
		batch []*block.Data
		size  int
	)
	a.missing = nil
	for _, h := range headers {
		var txs [][]byte
		if !h.IsEmpty() {
			i := a.body(h)
			if i == nil {
				a.missing = h
				break
			}
			txs = i.data.Txs
		}
		d := block.CanonicalData(h, txs, last)
		batch = append(batch, d)
		last = d.Hash()
		if size += d.Size(); size >= appendBytes {
			break
		}
	}
	return batch
}

// body returns the data a stored header commits to, nil when there is none. What
// it finds among the unsure is kept and reported.
func (a *assembler) body(h *block.SignedHeader) *dataItem {
	height, c := h.Height(), block.Hash(h.Header.DataHash)
	if i := a.pending.match(c, height); i != nil {
		if i.height != height {
			a.report(i, height)
		}
		return i
	}
	i := a.takeData(c, height)
	if i == nil {
		return nil
	}
	own := &dataItem{data: i.data, da: i.da, height: height, own: i.own}
	a.report(own, height)
	a.pending.addData(own, true)
	return own
}

// sweepStored lets go of what was kept for heights whose data is stored now,
// from here or from P2P.
func (a *assembler) sweepStored() {
	to := min(a.p.Data.Height(), a.p.Headers.Height())
	for _, height := range heldIn(a.settled, to, a.pending.claimed) {
		for _, i := range slices.Clone(a.pending.claimed[height]) {
			if a.claimedByPending(i) {
				a.pending.releaseData(i)
			} else {
				a.pending.removeData(i)
			}
		}
	}
	a.settled = to
}

// heldIn returns the keys in (from, to], in order.
func heldIn[V any](from, to uint64, m map[uint64]V) []uint64 {
	var out []uint64
	if uint64(len(m)) > to-from {
		for height := from + 1; height <= to; height++ {
			if _, ok := m[height]; ok {
				out = append(out, height)
			}
		}
		return out
	}
	for height := range m {
		if height > from && height <= to {
			out = append(out, height)
		}
	}
	slices.Sort(out)
	return out
}

// early returns the next header when the chain waits for its time to come.
func (a *assembler) early() *block.SignedHeader {
	is := a.pending.headers[a.nextHeight(a.p.Headers.Height())]
	if len(is) == 0 || a.p.Refuted(is[0].header.Digest()) || !is[0].header.Time().After(a.p.Now().Add(block.MaxFuture)) {
		return nil
	}
	return is[0].header
}

// waitingFor names the one thing the chain waits for here.
func (a *assembler) waitingFor() string {
	if m := a.missing; m != nil && m.Height() > a.p.Data.Height() {
		if w, ok := a.wanted.byHeight[m.Height()]; ok {
			return fmt.Sprintf("data of %d, header seen at DA %d", m.Height(), w.da)
		}
		return fmt.Sprintf("data of %d", m.Height())
	}
	next := a.nextHeight(a.p.Headers.Height())
	if is := a.pending.headers[next]; len(is) > 0 {
		if a.p.Refuted(is[0].header.Digest()) {
			return fmt.Sprintf("another header %d, the one seen at DA %d is refuted by execution", next, is[0].da)
		}
		if h := a.early(); h != nil {
			return fmt.Sprintf("the time of header %d, %s", next, h.Time().Format(time.RFC3339))
		}
		return fmt.Sprintf("header %d, the one seen at DA %d does not follow header %d", next, is[0].da, next-1)
	}
	if who := a.unprovenNext(next); who != "" {
		return who
	}
	for _, is := range a.pending.headers {
		if is[0].held {
			return fmt.Sprintf("header %d, later ones were seen on DA", next)
		}
	}
	return ""
}

// stalled returns the height that cannot be completed with what is at hand, 0
// for none.
func (a *assembler) stalled() uint64 {
	if a.missing != nil && a.missing.Height() > a.p.Data.Height() {
		return a.missing.Height()
	}
	next := a.nextHeight(a.p.Headers.Height())
	if len(a.pending.headers[next]) == 0 && a.nearHeaders() > 0 {
		return next
	}
	return 0
}
