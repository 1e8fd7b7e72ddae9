package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// Policy says what happens when DA tells another story than what was stored.
type Policy string

// The policies.
const (
	PolicyAuto     Policy = "auto"      // follow-da where the executor can roll back, else halt
	PolicyFollowDA Policy = "follow-da" // roll back to the last block that agrees, apply DA's
	PolicyHalt     Policy = "halt"      // stop and leave it to the operator
)

// decidePolicy turns auto into one of the two others.
func (p *Pipeline) decidePolicy() error {
	p.policy = p.cfg.Conflict
	_, tells := p.exec.(heightProvider)
	_, undoes := p.exec.(rollbacker)
	able := p.cfg.HeadersOnly || tells && undoes
	switch {
	case p.policy == PolicyFollowDA && !able:
		return stateErrorf("pipeline.conflict is follow-da, but the executor cannot roll back: set it to halt, or to auto")
	case p.policy == PolicyFollowDA, p.policy == PolicyHalt:
	case able:
		p.policy = PolicyFollowDA
	default:
		p.policy = PolicyHalt
	}
	return nil
}

// Conflicts is what became of conflicts since start.
type Conflicts struct {
	Policy  Policy
	Reverts uint64 // times the chain was rolled back to follow DA
	// LastRevert is when that happened last, and RevertedTo the last height kept.
	LastRevert time.Time
	RevertedTo uint64
	// Halted is why no more blocks are taken; nil while they are.
	Halted error
}

// Conflicts returns what became of conflicts since start.
func (p *Pipeline) Conflicts() Conflicts {
	p.trouble.mu.Lock()
	defer p.trouble.mu.Unlock()
	return p.trouble.Conflicts
}

// Report takes two headers of one height that came from peers; c.Have is the
// stored one. It keeps the proof and decides nothing but, with the policy halt,
// to take no more blocks: what DA says comes through Include. It waits for
// the pipeline only where the stored header may have to be removed: the two are of
// different proposers, so one of them was not in office, which is no proof of
// anything; or execution refuted a header of that height before.
func (p *Pipeline) Report(ctx context.Context, c *block.Conflict[*block.SignedHeader], peer string) error {
	if rivals(c.Have, c.Got) {
		return p.reconsider(ctx)
	}
	in, err := p.store.Inclusion(ctx, c.Height)
	if err != nil && !errors.Is(err, header.ErrNotFound) {
		return fmt.Errorf("read inclusion %d: %w", c.Height, err)
	}
	now := p.now()
	e := block.Evidence{
		First:  p.sighting(c.Have, in, now),
		Second: block.Sighting{Header: c.Got, Source: block.SourceP2P, Peer: peer, At: now},
	}
	fresh, err := p.accuse(ctx, e)
	if err == nil && p.refuted.lowest() == c.Height {
		err = p.giveWay(ctx, c.Have)
	}
	if err != nil || !fresh {
		return err
	}
	agreed := in.HeaderDA != 0 && in.HeaderHash == c.Have.Digest()
	if p.Conflicts().Policy == PolicyHalt && !agreed && c.Height > p.snap.Load().Final {
		p.stop(&EquivocationError{
			Height: c.Height, Applied: c.Have.Digest(), Other: c.Got.Digest(), OnDA: in.HeaderHash, DAHeight: in.HeaderDA, Proven: true,
		})
	}
	p.events.Conflict(c.Height, c.Got.Digest())
	return nil
}

// sighting says where a stored header came from, as far as that is known.
func (p *Pipeline) sighting(h *block.SignedHeader, in block.Included, now time.Time) block.Sighting {
	s := block.Sighting{Header: h, Source: block.SourceP2P, At: now}
	switch {
	case in.HeaderDA != 0 && in.HeaderHash == h.Digest():
		s.Source, s.DAHeight = block.SourceDA, in.HeaderDA
	case p.snap.Load().Source == block.SourceLocal:
		s.Source = block.SourceLocal
	}
	return s
}

// accuse keeps a proof and logs it, once per pair. It reports whether it is new.
func (p *Pipeline) accuse(ctx context.Context, e block.Evidence) (bool, error) {
	if err := e.VerifyBy(p.genesis, e.First.Header.Header.ProposerAddress); err != nil {
		p.log.Warn("two headers of one height prove nothing", zap.Error(err))
		return false, nil
	}
	fresh, err := p.store.SaveEvidence(context.WithoutCancel(ctx), e)
	if err != nil || !fresh {
		return false, err
	}
	p.log.Error("the proposer signed two headers for one height", zap.Uint64("height", e.Height()),
		zap.Stringer("have", e.First.Header.Digest()), zap.Stringer("have_source", e.First.Source), zap.Uint64("have_da_height", e.First.DAHeight),
		zap.Stringer("other", e.Second.Header.Digest()), zap.Stringer("other_source", e.Second.Source),
		zap.Uint64("other_da_height", e.Second.DAHeight), zap.String("peer", e.Second.Peer))
	return true, nil
}

// stop makes the pipeline take no more blocks. The first reason stands.
func (p *Pipeline) stop(err error) {
	p.trouble.mu.Lock()
	defer p.trouble.mu.Unlock()
	if p.trouble.Halted == nil {
		p.trouble.Halted = err
	}
}

// judge looks at a header from DA that differs from the stored one: it keeps the
// proof and notes in s what has to follow.
func (p *Pipeline) judge(ctx context.Context, s *sieve, inc block.Inclusion) error {
	if inc.Height < p.genesis.InitialHeight || inc.Height > p.headers.Height() {
		return nil // the stores were rolled back meanwhile
	}
	have, err := p.stored(ctx, inc.Height)
	if p.pruned(inc.Height, err) {
		return nil
	}
	if err != nil || have.Digest() == inc.Hash {
		return err
	}
	if rivals(have, inc.Header) {
		return nil
	}
	now, first := p.now(), s.known[inc.Height]
	fresh, err := p.accuse(ctx, block.Evidence{
		First:  p.sighting(have, first, now),
		Second: block.Sighting{Header: inc.Header, Source: block.SourceDA, DAHeight: inc.DAHeight, At: now},
	})
	if err != nil {
		return err
	}
	if fresh {
		p.events.Conflict(inc.Height, inc.Hash)
	}
	switch {
	case first.HeaderDA != 0 && first.HeaderHash != inc.Hash && first.HeaderDA <= inc.DAHeight:
		return nil // it came second on DA as well
	case s.forkedBelow(inc.Height):
		return nil // what is above a fork is read again once that is settled
	case p.refuted.has(inc.Hash):
		return nil // nothing is rolled back for it
	}
	e := &EquivocationError{
		Height: inc.Height, Applied: have.Digest(), OnDA: inc.Hash, DAHeight: inc.DAHeight, Proven: true,
		Final: inc.Height <= p.final.height,
	}
	switch follows, err := p.follows(ctx, inc.Header); {
	case err != nil:
		return err
	case e.Final:
		s.halt(e)
	case !follows:
		p.log.Warn("header on da does not follow the chain kept here, nothing is rolled back for it",
			zap.Uint64("height", inc.Height), zap.String("hash", inc.Hash.Short()))
	case inc.Header.Time().After(now.Add(block.MaxFuture)):
		e.Proven = false
		s.open = e // judged again when its time has come
	case p.policy == PolicyHalt:
		s.halt(e)
	case s.revert == nil || inc.Height <= s.revert.To:
		s.revert = &block.Revert{To: inc.Height - 1, Header: inc.Header, DAHeight: inc.DAHeight}
	}
	return nil
}

// follows reports whether a header links to the block stored before it.
func (p *Pipeline) follows(ctx context.Context, h *block.SignedHeader) (bool, error) {
	if h.Height() == p.genesis.InitialHeight {
		return len(h.Header.LastHeaderHash) == 0, nil
	}
	prev, err := p.stored(ctx, h.Height()-1)
	if err != nil {
		return false, err
	}
	return block.VerifyLink(prev, h) == nil, nil
}
