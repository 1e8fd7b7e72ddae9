package forced

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// epochs cuts DA heights into runs of equal length.
type epochs struct{ first, length uint64 }

func epochsOf(g block.Genesis) epochs {
	return epochs{first: max(g.DAStartHeight, 1), length: max(g.DAEpochForcedInclusion, 1)}
}

// of returns the epoch a DA height is in.
func (e epochs) of(height uint64) uint64 { return (max(height, e.first) - e.first) / e.length }

func (e epochs) start(epoch uint64) uint64 { return e.first + epoch*e.length }
func (e epochs) end(epoch uint64) uint64   { return e.start(epoch+1) - 1 }

// ended returns how many epochs have ended at a DA head.
func (e epochs) ended(head uint64) uint64 {
	if head+1 < e.first+e.length {
		return 0
	}
	return (head + 1 - e.first) / e.length
}

// EpochEnd returns the last DA height of the epoch a DA height is in: transactions
// forced there are due after it.
func EpochEnd(g block.Genesis, daHeight uint64) uint64 {
	e := epochsOf(g)
	return e.end(e.of(daHeight))
}

// span is when an epoch began and ended.
type span struct {
	epoch      uint64
	start, end time.Time
}

// source reads what was forced.
type source struct {
	client da.Client
	ns     da.Namespace
	valid  Valid
	epochs epochs
	poll   time.Duration // the DA block time
	span   span          // the last one asked for
	known  bool

	lost    uint64                // the lowest DA height that was skipped; 0 when none was
	suspect uint64                // DA height that was said to be gone, once
	skipped func(from, to uint64) // told of DA heights that are gone
}

// times returns when an epoch began and ended.
func (s *source) times(ctx context.Context, epoch uint64) (span, error) {
	if s.known && s.span.epoch == epoch {
		return s.span, nil
	}
	last, err := s.client.HeaderAt(ctx, s.epochs.end(epoch))
	if err != nil {
		return span{}, fmt.Errorf("read da header %d: %w", s.epochs.end(epoch), err)
	}
	first, err := s.client.HeaderAt(ctx, s.epochs.start(epoch))
	if errors.Is(err, da.ErrPruned) { // rather too early than too late
		const slow = 4
		first.Time, err = last.Time.Add(-time.Duration(s.epochs.length)*slow*s.poll), nil //nolint:gosec // an epoch is short
	}
	if err != nil {
		return span{}, fmt.Errorf("read da header %d: %w", s.epochs.start(epoch), err)
	}
	s.span, s.known = span{epoch: epoch, start: first.Time, end: last.Time}, true
	return s.span, nil
}

// batch is how many DA heights are asked for at once.
const batch = 16

// page is what was forced at one DA height, with the times of its epoch when there
// is anything.
type page struct {
	height uint64
	txs    [][]byte
	span   span
}

// pages reads DA heights [from, to], at least the first. Heights that are gone from
// DA are one page without transactions; they are believed to be at the second call.
func (s *source) pages(ctx context.Context, from, to uint64) ([]page, error) {
	heights, err := s.read(ctx, from, to)
	if errors.Is(err, da.ErrPruned) && s.suspect == from {
		last, tailErr := s.gone(ctx, from, to)
		if tailErr != nil {
			return nil, tailErr
		}
		if s.lost == 0 {
			s.lost = from
		}
		s.skipped(s.lost, last)
		return []page{{height: last}}, nil
	}
	s.suspect = 0
	if errors.Is(err, da.ErrPruned) {
		s.suspect = from
	}
	if err != nil {
		return nil, err
	}
	out := make([]page, len(heights))
	for i, blobs := range heights {
		p := page{height: from + uint64(i)}
		if p.txs, err = s.txs(ctx, blobs); err != nil {
			return nil, err
		}
		if len(p.txs) > 0 {
			if p.span, err = s.times(ctx, s.epochs.of(p.height)); err != nil {
				return nil, err
			}
		}
		out[i] = p
	}
	return out, nil
}

// gone returns the last of DA heights [from, to] that is gone; from is.
func (s *source) gone(ctx context.Context, from, to uint64) (uint64, error) {
	for from < to {
		middle := from + (to-from+1)/2
		_, err := s.client.Blobs(ctx, middle, s.ns)
		switch {
		case errors.Is(err, da.ErrPruned):
			from = middle
		case err != nil:
			return 0, fmt.Errorf("look for the lowest da height that is left, at %d: %w", middle, err)
		default:
			to = middle - 1
		}
	}
	return from, nil
}

// read returns the blobs of DA heights [from, to], at least of the first. Clients
// that cannot read several heights at once are asked for one.
func (s *source) read(ctx context.Context, from, to uint64) ([][]da.Blob, error) {
	many, ok := s.client.(da.BatchReader)
	to = min(to, from+batch-1)
	if !ok || from == to {
		blobs, err := s.client.Blobs(ctx, from, s.ns)
		if err != nil {
			return nil, fmt.Errorf("read forced transactions at da height %d: %w", from, err)
		}
		return [][]da.Blob{blobs}, nil
	}
	heights := make([]uint64, 0, batch)
	for h := from; h <= to; h++ {
		heights = append(heights, h)
	}
	replies, err := many.BlobsAt(ctx, heights, s.ns)
	if err != nil {
		return nil, fmt.Errorf("read forced transactions from da height %d: %w", from, err)
	}
	var out [][]da.Blob
	for i, r := range replies {
		if r.Err != nil && i == 0 {
			return nil, fmt.Errorf("read forced transactions at da height %d: %w", from, r.Err)
		}
		if r.Err != nil {
			break
		}
		out = append(out, r.Blobs)
	}
	return out, nil //nolint:nilerr // those before the failed one count; it is asked for again
}

// Valid says of each transaction whether it is one, by its bytes alone: every node
// has to come to the same answer. The others are nobody's duty.
type Valid func(ctx context.Context, txs [][]byte) ([]bool, error)

// txs returns the transactions in the blobs of a DA height; what is not valid is
// nil, so that the others keep their index.
func (s *source) txs(ctx context.Context, blobs []da.Blob) ([][]byte, error) {
	out := make([][]byte, len(blobs))
	for i, b := range blobs {
		if n := len(b.Data); n > 0 && n <= block.MaxForcedTxBytes && b.Namespace == s.ns {
			out[i] = b.Data
		}
	}
	if s.valid == nil || len(blobs) == 0 {
		return out, nil
	}
	ok, err := s.valid(ctx, out)
	if err != nil {
		return nil, fmt.Errorf("judge forced transactions: %w", err)
	}
	for i := range out {
		if i >= len(ok) || !ok[i] {
			out[i] = nil
		}
	}
	return out, nil
}
