package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// Judge says whether an address may sign a height. The state after a block names
// who signs the next one (evolve-wire §2.8). Further ahead the same address is
// taken to stay; another one is unproven until the blocks in between are applied.
// A node that executes nothing is never told: it knows the genesis proposer and
// those of Config.Proposers (ADR 015).
func (p *Pipeline) Judge(height uint64, address []byte) block.Standing {
	s := p.snap.Load()
	switch {
	case len(address) == 0, height < p.genesis.InitialHeight:
		return block.Unexpected
	case p.cfg.HeadersOnly && p.trusts(address):
		return block.Expected
	case p.cfg.HeadersOnly:
		return block.Unproven
	case height >= s.since:
		return standing(s.State.NextProposer, address, height <= s.State.NextHeight())
	}
	before, err := p.store.StateAt(context.Background(), height-1)
	if err != nil {
		return block.Unproven // pruned
	}
	return standing(before.NextProposer, address, true)
}

func standing(named, address []byte, proven bool) block.Standing {
	switch {
	case bytes.Equal(named, address):
		return block.Expected
	case proven:
		return block.Unexpected
	}
	return block.Unproven
}

// trusts reports whether a node that executes nothing takes blocks of an address.
func (p *Pipeline) trusts(address []byte) bool {
	return bytes.Equal(address, p.genesis.ProposerAddress) ||
		slices.ContainsFunc(p.trusted, func(a []byte) bool { return bytes.Equal(a, address) })
}

// named checks what the executor says about the next proposer.
func named(height uint64, next []byte) error {
	if len(next) != 0 && len(next) != block.HashSize {
		return stateErrorf("after block %d the executor named a next proposer of %d bytes (%X), want %d bytes or none: "+
			"nobody can have such an address; mend the executor", height, len(next), next, block.HashSize)
	}
	return nil
}

// Headers are stored ahead of the state on the assumption that the proposer
// stays. Where a block names another, what the old one signed above it counts for
// nothing: stored headers, and marks of what was seen on DA.

// purge is called after blocks were applied. It removes what the assumption has
// let in above them, if it was wrong.
func (p *Pipeline) purge(ctx context.Context) error {
	if !p.deposed {
		return nil
	}
	stale, err := p.staleAbove(ctx)
	if err != nil {
		return err
	}
	if stale {
		if err := p.discard(ctx); err != nil {
			return err
		}
	}
	p.deposed = false
	return nil
}

// recallProposer notes whether the newest block named another proposer: a crash
// may have come before the purge.
func (p *Pipeline) recallProposer(ctx context.Context) error {
	p.deposed, p.owed = false, nil
	if p.cfg.HeadersOnly || !p.state.Started() {
		return nil
	}
	before, err := p.store.StateAt(ctx, p.state.LastHeight-1)
	switch {
	case errors.Is(err, header.ErrNotFound):
		return nil // pruned
	case err != nil:
		return fmt.Errorf("read state %d: %w", p.state.LastHeight-1, err)
	}
	p.deposed = !bytes.Equal(before.NextProposer, p.state.NextProposer)
	return nil
}

// owe keeps a rollback that was finished in Apply for the DA worker.
func (p *Pipeline) owe(err error) error {
	if done, ok := errors.AsType[*RevertedError](err); ok {
		p.owed = done
	}
	return err
}

// staleAbove reports whether the stored header of the next height is by another
// than the proposer the state names.
func (p *Pipeline) staleAbove(ctx context.Context) (bool, error) {
	next := p.state.NextHeight()
	if p.cfg.HeadersOnly || p.headers.Height() < next || len(p.state.NextProposer) == 0 {
		return false, nil
	}
	h, err := p.stored(ctx, next)
	if err != nil {
		return false, err
	}
	return !bytes.Equal(h.Header.ProposerAddress, p.state.NextProposer), nil
}

// discard removes everything above the applied head and has DA read again from
// where it may lie.
func (p *Pipeline) discard(ctx context.Context) error {
	p.log.Warn("removing blocks of a proposer that was replaced", zap.Uint64("above", p.state.NextHeight()-1),
		zap.String("proposer", fmt.Sprintf("%X", p.state.NextProposer)), zap.Uint64("stored", p.headers.Height()))
	return p.owe(p.revert(ctx, block.Revert{To: p.state.NextHeight() - 1}))
}

// rivals reports whether two headers are of different proposers. They are no
// proof then: one of them was not in office, and the state will tell which.
func rivals(a, b *block.SignedHeader) bool {
	return !bytes.Equal(a.Header.ProposerAddress, b.Header.ProposerAddress)
}

// reconsider removes the stored header if it turns out to be of a proposer that
// was replaced.
func (p *Pipeline) reconsider(ctx context.Context) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	if err := p.settle(ctx); err != nil {
		return p.owe(err)
	}
	stale, err := p.staleAbove(ctx)
	if err != nil || !stale {
		return err
	}
	if err = p.discard(ctx); isReverted(err) {
		return nil
	}
	return err
}

func isReverted(err error) bool {
	_, ok := errors.AsType[*RevertedError](err)
	return ok
}
