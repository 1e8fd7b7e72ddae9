package pipeline

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/names"
)

// Include records what was seen on DA, in DA order, together with the next DA
// height to read (0 keeps it), then makes final what became complete. Headers
// must be known to be signed by the proposer, data to be what a header commits
// to. The first header of a height stands; a different one, or one that differs
// from the applied header, is an *EquivocationError, returned after everything
// was recorded.
func (p *Pipeline) Include(ctx context.Context, incs []block.Inclusion, cursor uint64) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	if err := p.ready(); err != nil {
		return err
	}
	ctx, span := p.span(ctx, names.SpanInclude, len(incs) > 0)
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attribute.Int(names.AttrBlobCount, len(incs)), heightAttr(names.AttrDAHeight, cursor))
	}
	err := p.include(ctx, incs, cursor)
	fail(span, err)
	return err
}

func (p *Pipeline) include(ctx context.Context, incs []block.Inclusion, cursor uint64) error {
	s := sieve{known: make(map[uint64]block.Included, len(incs))}
	for _, inc := range incs {
		if err := p.sift(ctx, &s, inc); err != nil {
			return err
		}
	}
	if cursor == p.store.DACursor() {
		cursor = 0
	}
	if len(s.fresh) > 0 || cursor != 0 {
		b := block.Batch{Inclusions: s.fresh, DACursor: cursor, Sync: p.cfg.Sync}
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
	err := p.advance(ctx)
	if s.conflict != nil {
		return s.conflict
	}
	return err
}

// forget makes the store be asked about these heights again.
func (p *Pipeline) forget(known map[uint64]block.Included) {
	for height := range known {
		delete(p.seen, height)
	}
	p.final.stuck = 0
}

// sieve keeps what is new of a list of inclusions.
type sieve struct {
	fresh    []block.Inclusion
	known    map[uint64]block.Included // with the fresh ones
	conflict error                     // the first
}

func (s *sieve) clash(err error) {
	if s.conflict == nil {
		s.conflict = err
	}
}

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
	switch {
	case have.HeaderDA != 0 && have.HeaderHash != inc.Hash:
		s.clash(p.equivocation(&EquivocationError{
			Height: inc.Height, Applied: here.hash, First: have.HeaderHash, OnDA: inc.Hash, DAHeight: inc.DAHeight,
		}))
		return
	case here.height != 0 && here.hash != inc.Hash:
		s.clash(p.equivocation(&EquivocationError{
			Height: inc.Height, Applied: here.hash, OnDA: inc.Hash, DAHeight: inc.DAHeight,
		}))
	}
	// The first header on DA is recorded even where another one is applied:
	// nothing that comes later on DA may make that one final.
	if have.HeaderDA == 0 && inc.Height > p.final.height {
		have.HeaderHash, have.HeaderDA = inc.Hash, inc.DAHeight
		s.known[inc.Height] = have
		s.fresh = append(s.fresh, inc)
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

// equivocation logs a conflict the first time and returns it.
func (p *Pipeline) equivocation(e *EquivocationError) error {
	if p.firstTime(e.Height, e.OnDA) {
		p.log.Error("the proposer signed two headers for one height", zap.Uint64("height", e.Height),
			zap.Stringer("applied", e.Applied), zap.Stringer("first_on_da", e.First), zap.Stringer("on_da", e.OnDA),
			zap.Uint64("da_height", e.DAHeight))
	}
	return e
}
