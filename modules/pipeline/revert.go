package pipeline

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// RevertedError says that the chain was rolled back to follow DA, and where on
// DA to read again. Nothing is wrong any more.
type RevertedError struct {
	To       uint64 // the highest height kept
	DACursor uint64
}

// Error names both heights.
func (e *RevertedError) Error() string {
	return fmt.Sprintf("rolled back to block %d to follow DA, read again from DA height %d", e.To, e.DACursor)
}

// RewindTo returns the DA height to read from next.
func (e *RevertedError) RewindTo() uint64 { return e.DACursor }

// searchBelow is how far below a conflict the last agreed positions on DA are
// looked for.
const searchBelow = 1024

// revert rolls back to follow DA. First the decision reaches the disk: from then
// on it is carried through, by this call, a later one, or Open.
func (p *Pipeline) revert(ctx context.Context, r block.Revert) error {
	var err error
	if r.DACursor, err = p.rereadFrom(ctx, r); err != nil {
		return err
	}
	if r.Header != nil {
		p.log.Warn("rolling back to follow da", zap.Uint64("to", r.To), zap.Uint64("applied", applied(p.state)),
			zap.Stringer("da_header", r.Header.Digest()), zap.Uint64("da_height", r.DAHeight), zap.Uint64("da_cursor", r.DACursor))
	}
	if err := p.store.SaveRevert(context.WithoutCancel(ctx), r); err != nil {
		return fmt.Errorf("note the rollback to block %d: %w", r.To, err)
	}
	p.reverting = &r
	return p.resumeRevert(ctx)
}

// rereadFrom returns the lowest DA height at which anything of the blocks above
// r.To may lie: where some of it was seen, but no later than right behind the
// newest header and data of the blocks that are kept, since data that no known
// header wanted was not noted.
func (p *Pipeline) rereadFrom(ctx context.Context, r block.Revert) (uint64, error) {
	from := r.DAHeight
	if r.Header == nil {
		from = p.store.DA().Floor
	}
	lower := func(daHeight uint64) {
		if daHeight != 0 {
			from = min(from, daHeight)
		}
	}
	for h := r.To + 1; h <= p.store.Included(); h++ {
		in, err := p.included(ctx, h)
		if err != nil {
			return 0, err
		}
		lower(in.HeaderDA)
		lower(in.DataDA)
	}
	first := max(p.genesis.DAStartHeight, 1)
	for h := r.To; h >= p.genesis.InitialHeight && r.To-h < searchBelow; h-- {
		in, err := p.included(ctx, h)
		if err != nil {
			return 0, err
		}
		lower(in.HeaderDA)
		lower(in.DataDA)
		if in.HeaderDA != 0 && (in.DataDA != 0 || p.cfg.HeadersOnly) {
			return max(from, first), nil
		}
	}
	return first, nil
}

// resumeRevert carries through the rollback that was decided, if any. Every step
// may be repeated. It returns a *RevertedError when it is done.
func (p *Pipeline) resumeRevert(ctx context.Context) error {
	r := p.reverting
	if r == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if err := p.unexecute(ctx, r.To); err != nil {
		return err
	}
	if err := p.replaceAbove(ctx, *r); err != nil {
		return err
	}
	st, err := p.store.State(ctx)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	p.reverting = nil
	p.state, p.since = st, min(p.since, st.NextHeight())
	p.recent, p.waiting, p.unsure = recent{}, waiting{}, true
	p.final.stuck, p.final.told = 0, min(p.final.told, r.To)
	p.deposed = false
	p.rolledBack(r.To)
	clear(p.seen)
	if r.Header != nil {
		p.noteRevert(r.To)
	}
	p.publish(p.next(p.snap.Load().Source, p.snap.Load().AppliedAt))
	p.events.Reverted(r.To+1, r.Header)
	if r.Header == nil {
		return &RevertedError{To: r.To, DACursor: r.DACursor}
	}
	p.log.Warn("rolled back to follow da", zap.Uint64("applied", applied(p.state)), zap.Uint64("da_cursor", r.DACursor))
	return &RevertedError{To: r.To, DACursor: r.DACursor}
}

func (p *Pipeline) noteRevert(to uint64) {
	p.trouble.mu.Lock()
	defer p.trouble.mu.Unlock()
	p.trouble.Reverts++
	p.trouble.LastRevert, p.trouble.RevertedTo = p.now(), to
}

// unexecute takes back what the executor did above a height.
func (p *Pipeline) unexecute(ctx context.Context, to uint64) error {
	provider, ok := p.exec.(heightProvider)
	if p.cfg.HeadersOnly || !ok {
		return nil
	}
	have, err := p.latest(ctx, provider)
	if err != nil || have <= to {
		return err
	}
	_, err = p.rollback(ctx, provider, have, to)
	return err
}

// replaceAbove removes what is stored above r.To and puts DA's header there, so
// that nobody else can put back what was removed.
func (p *Pipeline) replaceAbove(ctx context.Context, r block.Revert) error {
	const tries = 10
	var err error
	for range tries {
		if err = p.store.Truncate(ctx, r.To); err != nil {
			return fmt.Errorf("remove blocks above %d: %w", r.To, err)
		}
		b := block.Batch{DropRevert: true, Sync: true}
		if r.Header != nil {
			b.Blocks = []block.Block{{Header: r.Header}}
			b.Inclusions = []block.Inclusion{{Height: r.To + 1, Kind: block.KindHeader, Hash: r.Header.Digest(), DAHeight: r.DAHeight}}
		}
		err = p.store.Commit(ctx, b)
		if _, raced := errors.AsType[*block.Conflict[*block.SignedHeader]](err); !raced {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("store header %d of da: %w", r.To+1, err)
	}
	return nil
}
