package chainstore

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// sweepRecords is how many removals go into one batch.
const sweepRecords = 8192

// Truncate removes headers, data, states and DA marks above height to, and
// lowers Height, State, Final and Submitted; with the newest state the pending
// block goes. The positions on DA stay. Once begun it does not stop for ctx, and
// after a crash Open finishes it. Handlers of OnDelete are not asked.
//
// The first batch, which reaches the disk, lowers every height: from then on
// nothing above to is seen. Further batches remove what is no longer seen.
func (s *Store) Truncate(ctx context.Context, to uint64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("truncate to %d: %w", to, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers.mu.Lock()
	defer s.headers.mu.Unlock()
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	if err := s.truncate(to); err != nil {
		return fmt.Errorf("truncate to %d: %w", to, err)
	}
	return nil
}

func (s *Store) truncate(to uint64) error {
	old := s.progress.Load()
	if old == nil {
		return errNotOpen
	}
	g, err := s.readGenesis()
	switch {
	case err != nil:
		return err
	case g != nil && to+1 < g.initialHeight:
		return fmt.Errorf("the chain starts at %d", g.initialHeight)
	}
	p, headers, data := old.upTo(to), s.headers.heights().upTo(to), s.data.heights().upTo(to)
	if p == *old && headers == s.headers.heights() && data == s.data.heights() {
		return nil
	}
	newest := s.newest.Load()
	if p.state != old.state {
		st, err := s.readState(p.state)
		if err != nil {
			return err
		}
		newest = &st
	}
	if err := s.lower(*old, p, headers, data); err != nil {
		return err
	}
	s.flushed.set(p.state)
	s.newest.Store(newest)
	s.progress.Store(&p)
	s.headers.replace(headers)
	s.data.replace(data)
	s.log.Warn("chain store truncated", zap.Uint64("to", to), zap.Uint64("applied_height", p.state))
	return s.sweep()
}

// upTo returns the progress without the heights above to.
func (p progress) upTo(to uint64) progress {
	p.final, p.included = min(p.final, to), min(p.included, to)
	p.submittedHeader, p.submittedData = min(p.submittedHeader, to), min(p.submittedData, to)
	p.state = min(p.state, to)
	return p
}

// lower writes the new heights and notes that there is something to sweep.
func (s *Store) lower(old, p progress, headers, data span) error {
	b := &leveldb.Batch{}
	s.headers.stageSpan(b, headers)
	s.data.stageSpan(b, data)
	s.stageProgress(b, old, p)
	if p.state < old.state {
		b.Delete(keyNamed(nsMark, markPending)) // it was built on what is gone
	}
	b.Put(keyNamed(nsMark, markSweep), nil)
	return s.db.Write(b, true)
}

// resumeSweep finishes a Truncate that a crash cut short. The caller holds mu.
func (s *Store) resumeSweep(ctx context.Context) error {
	switch has, err := s.db.Has(keyNamed(nsMark, markSweep)); {
	case err != nil:
		return err
	case !has:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	s.log.Info("finishing a truncation that was cut short")
	s.headers.mu.Lock()
	defer s.headers.mu.Unlock()
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	return s.sweep()
}

// sweep removes what is stored outside the heights in force. The caller holds
// all locks. When it fails, the chains take no more writes: an item that is left
// over could come to be seen again.
func (s *Store) sweep() error {
	b := &leveldb.Batch{}
	flush := func() error {
		defer b.Reset()
		return s.db.Write(b, false)
	}
	p := s.marks()
	err := errors.Join(
		s.headers.sweep(b, flush),
		s.data.sweep(b, flush),
		s.sweepAbove(b, nsState, p.state, flush),
		s.sweepAbove(b, nsInclusion, p.included, flush),
	)
	if err == nil {
		b.Delete(keyNamed(nsMark, markSweep))
		err = s.db.Write(b, true)
	}
	if err != nil {
		err = fmt.Errorf("removal is unfinished, start the node again: %w", err)
		s.headers.failed, s.data.failed = err, err
		return err
	}
	// Again, for reads that were under way while the items were still there.
	s.headers.recent.reset()
	s.data.recent.reset()
	return nil
}

func (s *Store) sweepAbove(b *leveldb.Batch, ns byte, height uint64, flush func() error) error {
	start := keyAt(ns, height+1)
	it := s.db.NewIterator(start[:], keyEnd(ns))
	defer it.Close()
	for it.Next() {
		b.Delete(it.Key())
		if b.Len() >= sweepRecords {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return it.Err()
}

// sweep removes what is stored outside the span. The caller holds mu.
func (c *Chain[H]) sweep(b *leveldb.Batch, flush func() error) error {
	s := c.heights()
	above := keyAt(c.kind.body, s.top+1)
	if s.empty() {
		above = keyAt(c.kind.body, 0)
	}
	err := c.erase(b, above[:], keyEnd(c.kind.body), flush)
	if err != nil || s.empty() {
		return err
	}
	first, bottom := keyAt(c.kind.body, 0), keyAt(c.kind.body, s.bottom)
	return c.erase(b, first[:], bottom[:], flush)
}
