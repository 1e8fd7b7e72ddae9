package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// progressEvery is how often a long replay says how far it is.
const progressEvery = 10 * time.Second

// Replay is the execution, at start, of applied blocks that the executor lacks.
type Replay struct {
	At       uint64 // height that is executed now
	From, To uint64 // first and last
}

// String says how far it is.
func (r Replay) String() string { return fmt.Sprintf("block %d of %d", r.At, r.To) }

// Replay returns how far the replay is; nil when there is none, or no more.
func (p *Pipeline) Replay() *Replay { return p.replaying.Load() }

// level carries out the replay Load found necessary, if any, and lets blocks in.
func (p *Pipeline) level(ctx context.Context) error {
	r := p.Replay()
	if r == nil {
		return nil
	}
	// The gate is held since Load.
	defer p.leave()
	if err := p.replay(ctx, r.From, r.To); err != nil {
		return err
	}
	if err := p.opened(ctx); err != nil {
		return err
	}
	p.replaying.Store(nil)
	p.publish(p.snap.Load())
	return nil
}

// replay executes applied blocks again and checks every root.
func (p *Pipeline) replay(ctx context.Context, from, to uint64) error {
	if from > to {
		return nil
	}
	p.log.Info("replaying blocks the executor lacks", zap.Uint64("from", from), zap.Uint64("to", to))
	prev, err := p.store.StateAt(ctx, from-1)
	if err != nil {
		return fmt.Errorf("read state %d: %w", from-1, err)
	}
	said := p.now()
	for h := from; h <= to; h++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.beat.Busy()
		st, err := p.replayOne(ctx, prev, h)
		if err != nil {
			return err
		}
		prev = st
		if r := p.replaying.Load(); r != nil {
			p.replaying.Store(&Replay{At: h + 1, From: r.From, To: r.To})
		}
		if now := p.now(); now.Sub(said) >= progressEvery {
			said = now
			p.log.Info("replaying", zap.Uint64("height", h), zap.Uint64("to", to))
		}
	}
	p.log.Info("replay finished", zap.Uint64("height", to))
	return nil
}

func (p *Pipeline) replayOne(ctx context.Context, prev block.State, height uint64) (block.State, error) {
	want, err := p.store.StateAt(ctx, height)
	if err != nil {
		return want, fmt.Errorf("read state %d: %w", height, err)
	}
	e, err := p.recall(ctx, want, height)
	if err != nil {
		return want, err
	}
	e.PrevRoot = prev.AppHash
	got, err := p.execute(ctx, e)
	if err != nil {
		return want, fmt.Errorf("replay block %d: %w", height, err)
	}
	if !bytes.Equal(got.StateRoot, want.AppHash) && height == applied(p.state) {
		return p.reviseNewest(ctx, prev, want, got)
	}
	if !bytes.Equal(got.StateRoot, want.AppHash) {
		return want, &RootError{Height: height, Got: got.StateRoot, Want: want.AppHash}
	}
	next := prev.NextProposer
	if len(got.NextProposer) > 0 {
		next = got.NextProposer
	}
	if !bytes.Equal(next, want.NextProposer) {
		return want, stateErrorf("replayed, block %d names %X the next proposer; when it was applied it named %X: "+
			"the executor is not deterministic, or its data is of another chain", height, next, want.NextProposer)
	}
	return want, nil
}

// reviseNewest replaces the state after the newest block: no header repeats it yet,
// so it is the executor's word alone, and another executor gave it.
func (p *Pipeline) reviseNewest(ctx context.Context, prev, want block.State, got block.ExecResult) (block.State, error) {
	p.log.Warn("executed again, the newest block leads to another state, which the next block has to confirm", zap.Uint64("height", want.LastHeight),
		zap.String("state_root", root(got.StateRoot)), zap.String("before", root(want.AppHash)), zap.String("executor", p.executor))
	next := want
	next.AppHash, next.NextProposer = got.StateRoot, prev.NextProposer
	if len(got.NextProposer) > 0 {
		next.NextProposer = got.NextProposer
	}
	if err := p.store.ReviseState(ctx, next); err != nil {
		return want, fmt.Errorf("revise state %d: %w", next.LastHeight, err)
	}
	p.state = next
	return next, nil
}

// recall reads an applied block back. It must be the one that was applied.
func (p *Pipeline) recall(ctx context.Context, st block.State, height uint64) (block.Execution, error) {
	h, err := p.stored(ctx, height)
	if err != nil {
		return block.Execution{}, err
	}
	if !bytes.Equal(h.Hash(), st.LastHeaderHash) {
		return block.Execution{}, stateErrorf("block %d is stored with hash %s but %X was applied: "+
			"the database is damaged; 'tandem repair' says what can be kept", height, h.Digest(), st.LastHeaderHash)
	}
	e := block.Execution{Height: height, Time: h.Time()}
	if h.IsEmpty() {
		return e, nil
	}
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	d, err := p.data.GetByHeight(bounded, height)
	if err != nil {
		return e, fmt.Errorf("read data %d: %w", height, err)
	}
	if err := block.VerifyData(h, d); err != nil {
		return e, fmt.Errorf("stored data: %w", err)
	}
	e.Txs = d.Txs
	return e, nil
}
