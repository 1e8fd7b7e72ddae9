package pipeline

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/names"
)

// Include records what the DA worker read on DA, in DA order, together with how
// far it has read, then makes final what became complete. Only the DA worker calls
// it: what DA answered to a submission is no reading. Headers
// must be known to be signed by the proposer, data to be what a header commits
// to. The first header of a height stands. One that comes with Header set differs
// from the stored one: it becomes evidence, and where it stands, by the policy
// either the stores are rolled back, which is a *RevertedError, or the node
// halts with an *EquivocationError. One that differs without Header is an
// *EquivocationError that is not permanent: the caller looks again and brings
// the header. In all these cases the positions stay.
func (p *Pipeline) Include(ctx context.Context, incs []block.Inclusion, read block.DAPositions) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	if err := p.ready(); err != nil {
		return err
	}
	ctx, span := p.tracer.Step(ctx, names.SpanInclude)
	defer span.End()
	if span.Recording() {
		span.SetAttributes(attribute.Int(names.AttrBlobCount, len(incs)), heightAttr(names.AttrDAHeight, read.Scanned))
	}
	return span.Fail(p.include(ctx, incs, read))
}

func (p *Pipeline) include(ctx context.Context, incs []block.Inclusion, read block.DAPositions) error {
	if owed := p.owed; owed != nil && read != (block.DAPositions{}) {
		p.owed = nil // who brings no positions has none to take back
		return owed
	}
	if err := p.resumeRevert(ctx); err != nil {
		return err
	}
	s := sieve{known: make(map[uint64]block.Included, len(incs))}
	for _, inc := range incs {
		if err := p.sift(ctx, &s, inc); err != nil {
			return err
		}
	}
	if err := p.settleConflicts(ctx, &s); err != nil {
		return err
	}
	p.heardAmong(s.fresh)
	if read = p.floor(read); read == p.store.DA() || s.unsettled() {
		read = block.DAPositions{} // what is unsettled is read again
	}
	if err := p.commitInclusions(ctx, s, read); err != nil {
		return err
	}
	if s.revert != nil {
		return p.revert(ctx, *s.revert)
	}
	err := p.advance(ctx)
	switch {
	case s.halted != nil:
		p.stop(s.halted)
		return s.halted
	case s.open != nil:
		return p.contested(s.open)
	}
	return err
}

// settleConflicts decides what follows from headers that differ from the stored
// ones.
func (p *Pipeline) settleConflicts(ctx context.Context, s *sieve) error {
	if len(s.contested) > 0 {
		if err := p.commitWaiting(ctx); err != nil {
			return err
		}
	}
	judged := make(map[uint64]bool, len(s.contested))
	for _, inc := range s.contested {
		if err := p.judge(ctx, s, inc); err != nil {
			return err
		}
		judged[inc.Height] = true
	}
	for _, e := range s.disputed {
		if !judged[e.Height] && s.open == nil {
			s.open = e
		}
	}
	return nil
}

func (p *Pipeline) commitInclusions(ctx context.Context, s sieve, read block.DAPositions) error {
	if len(s.fresh) > 0 || read != (block.DAPositions{}) {
		b := block.Batch{Inclusions: s.fresh, DA: read, Sync: p.cfg.Sync}
		if err := p.store.Commit(ctx, b); err != nil {
			p.forget(s.known) // whether it took effect is not known
			return fmt.Errorf("commit %d inclusions: %w", len(s.fresh), err)
		}
	}
	for _, inc := range s.fresh {
		p.remember(inc.Height, s.known[inc.Height])
		if inc.Height == p.final.stuck {
			p.final.stuck = 0
		}
	}
	p.traceSeen(ctx, s.fresh)
	return nil
}

// forget makes the store be asked about these heights again.
func (p *Pipeline) forget(known map[uint64]block.Included) {
	for height := range known {
		delete(p.seen, height)
	}
	p.final.stuck = 0
}

// sieve keeps what is new of a list of inclusions, and what follows from it.
type sieve struct {
	fresh     []block.Inclusion
	known     map[uint64]block.Included // with the fresh ones
	contested []block.Inclusion         // with both headers at hand
	disputed  []*EquivocationError      // with a hash of one of them only

	revert *block.Revert      // the lowest that has to be made
	halted *EquivocationError // the first that stops the node
	open   *EquivocationError // the first to wait for
}

func (s *sieve) halt(e *EquivocationError) {
	if s.halted == nil {
		s.halted = e
	}
}

// forkedBelow reports whether a lower block has already turned out to be
// another one on DA.
func (s *sieve) forkedBelow(height uint64) bool {
	return s.revert != nil && s.revert.To+1 < height ||
		s.halted != nil && s.halted.Height < height ||
		s.open != nil && s.open.Height < height
}

func (s *sieve) unsettled() bool { return s.revert != nil || s.halted != nil || s.open != nil }

func (p *Pipeline) sift(ctx context.Context, s *sieve, inc block.Inclusion) error {
	switch {
	case inc.DAHeight == 0:
		return fmt.Errorf("inclusion of %s %d has no DA height", inc.Kind, inc.Height)
	case inc.Height < p.genesis.InitialHeight:
		return nil
	}
	if _, ok := s.known[inc.Height]; !ok {
		have, err := p.included(ctx, inc.Height)
		if err != nil {
			return err
		}
		s.known[inc.Height] = have
	}
	var here mark // the applied block; zero above
	if inc.Height <= applied(p.state) {
		var err error
		here, err = p.applied(ctx, inc.Height)
		if p.pruned(inc.Height, err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if inc.Kind == block.KindHeader {
		p.siftHeader(s, inc, here)
	} else {
		p.siftData(s, inc, here)
	}
	return nil
}

func (p *Pipeline) siftHeader(s *sieve, inc block.Inclusion, here mark) {
	have := s.known[inc.Height]
	// The first header on DA is recorded even where another one is applied:
	// nothing that comes later on DA may make that one final.
	if have.HeaderDA == 0 && inc.Height > p.final.height {
		have.HeaderHash, have.HeaderDA = inc.Hash, inc.DAHeight
		s.known[inc.Height] = have
		s.fresh = append(s.fresh, inc)
	}
	switch {
	case inc.Header != nil:
		s.contested = append(s.contested, inc)
	case here.height != 0 && have.HeaderDA != 0 && here.hash != have.HeaderHash,
		here.height != 0 && here.hash != inc.Hash && (have.HeaderDA == 0 || inc.DAHeight < have.HeaderDA):
		e := &EquivocationError{Height: inc.Height, Applied: here.hash, OnDA: inc.Hash, DAHeight: inc.DAHeight}
		if have.HeaderDA != 0 && have.HeaderDA <= inc.DAHeight {
			e.OnDA, e.DAHeight = have.HeaderHash, have.HeaderDA
		}
		s.disputed = append(s.disputed, e)
	}
}

func (p *Pipeline) siftData(s *sieve, inc block.Inclusion, here mark) {
	have := s.known[inc.Height]
	switch {
	case inc.Height <= p.final.height, have.DataDA != 0, p.cfg.HeadersOnly:
		return
	case here.height != 0 && here.commitment != inc.Hash:
		return // anyone can post data; the header says which counts
	}
	have.Commitment, have.DataDA = inc.Hash, inc.DAHeight
	s.known[inc.Height] = have
	s.fresh = append(s.fresh, inc)
}

// contested tells, the first time, of a header whose rival is known by hash only.
func (p *Pipeline) contested(e *EquivocationError) error {
	if p.firstTime(e.Height, e.OnDA) {
		p.log.Warn("header differs from the one on da", zap.Uint64("height", e.Height),
			zap.Stringer("have", e.Applied), zap.Stringer("on_da", e.OnDA), zap.Uint64("da_height", e.DAHeight))
		p.events.Conflict(e.Height, e.OnDA)
	}
	return e
}
