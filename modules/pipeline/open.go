package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// progressEvery is how often a long replay says how far it is.
const progressEvery = 10 * time.Second

// Open loads the applied state, or makes the first one, and brings the executor
// level with it: blocks it lacks are executed again and must give the same
// roots, blocks it has beyond the applied ones are rolled back. It must return
// before blocks come, and may be called again after the store was truncated.
func (p *Pipeline) Open(ctx context.Context) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	if err := p.decidePolicy(); err != nil {
		return err
	}
	p.trouble.set(p.policy)
	st, err := p.load(ctx)
	if err != nil {
		return err
	}
	p.state, p.since = st, st.NextHeight()
	p.recent, p.waiting, p.unsure = recent{}, waiting{}, false
	clear(p.seen)
	if err := p.finishRevert(ctx); err != nil {
		return err
	}
	if err := p.recallProposer(ctx); err != nil {
		return err
	}
	if err := p.align(ctx); err != nil {
		return err
	}
	if err := p.loadFinal(ctx); err != nil {
		return err
	}
	p.publish(p.next(p.snap.Load().Source, time.Time{}))
	if err := p.advanceQuietly(ctx); err != nil {
		return err
	}
	p.open = true
	p.log.Info("pipeline opened", zap.Uint64("applied", applied(p.state)), zap.Uint64("final", p.final.height),
		zap.Uint64("da_cursor", p.store.DACursor()), zap.Bool("headers_only", p.cfg.HeadersOnly))
	return nil
}

// finishRevert carries through a rollback that a crash cut short.
func (p *Pipeline) finishRevert(ctx context.Context) error {
	r, ok, err := p.store.Revert(ctx)
	if err != nil || !ok {
		p.reverting = nil
		return err
	}
	p.log.Warn("finishing a rollback that was cut short", zap.Uint64("to", r.To))
	p.reverting = &r
	err = p.resumeRevert(ctx)
	if _, done := errors.AsType[*RevertedError](err); done {
		return nil
	}
	return err
}

func (p *Pipeline) load(ctx context.Context) (block.State, error) {
	st, err := p.store.State(ctx)
	switch {
	case errors.Is(err, header.ErrNotFound):
		return p.first(ctx)
	case err != nil:
		return block.State{}, fmt.Errorf("read state: %w", err)
	}
	start, err := p.sameChain(ctx, st)
	if err != nil || p.cfg.HeadersOnly {
		return st, err
	}
	got, err := p.initChain(ctx)
	if err != nil {
		return st, err
	}
	if !bytes.Equal(got, start.AppHash) {
		return st, &RootError{Height: p.genesis.InitialHeight - 1, Got: got, Want: start.AppHash}
	}
	return st, nil
}

// first makes and stores the state before the first block.
func (p *Pipeline) first(ctx context.Context) (block.State, error) {
	var root []byte
	if !p.cfg.HeadersOnly {
		var err error
		if root, err = p.initChain(ctx); err != nil {
			return block.State{}, err
		}
	}
	st := block.GenesisState(p.genesis, root)
	if err := p.store.SaveGenesis(ctx, p.genesis, st); err != nil {
		return block.State{}, fmt.Errorf("save genesis: %w", err)
	}
	return st, nil
}

// sameChain checks that the stored state grew from this genesis and returns the
// state it started from.
func (p *Pipeline) sameChain(ctx context.Context, st block.State) (block.State, error) {
	if st.ChainID != p.genesis.ChainID || st.InitialHeight != p.genesis.InitialHeight {
		return st, stateErrorf("the stored chain is %q from height %d, the genesis file is of %q from height %d: "+
			"use the home of this chain", st.ChainID, st.InitialHeight, p.genesis.ChainID, p.genesis.InitialHeight)
	}
	start, err := p.store.StateAt(ctx, p.genesis.InitialHeight-1)
	if err != nil {
		return st, fmt.Errorf("read genesis state: %w", err)
	}
	if err := p.store.SaveGenesis(ctx, p.genesis, block.GenesisState(p.genesis, start.AppHash)); err != nil {
		return st, fmt.Errorf("check genesis: %w", err)
	}
	return start, nil
}

// align brings the executor to the applied height, when it can tell where it is.
func (p *Pipeline) align(ctx context.Context) error {
	provider, ok := p.exec.(heightProvider)
	if p.cfg.HeadersOnly || !ok {
		return nil
	}
	have, err := p.latest(ctx, provider)
	if err != nil {
		return err
	}
	if have > applied(p.state) {
		if have, err = p.rollback(ctx, provider, have, p.state.NextHeight()-1); err != nil {
			return err
		}
	}
	return p.replay(ctx, max(have+1, p.genesis.InitialHeight), applied(p.state))
}

// rollback takes back what the executor did beyond a height.
func (p *Pipeline) rollback(ctx context.Context, provider heightProvider, have, to uint64) (uint64, error) {
	r, ok := p.exec.(rollbacker)
	if !ok {
		return 0, stateErrorf("the executor is at block %d, ahead of the applied block %d, and cannot roll back: "+
			"restore its data from block %d or below, or delete it to replay all blocks", have, to, to)
	}
	p.log.Warn("executor is ahead, rolling back", zap.Uint64("executed", have), zap.Uint64("to", to))
	err := p.guard("Rollback", to, func() error { return r.Rollback(ctx, to) })
	if err != nil {
		return 0, fmt.Errorf("roll back executor from block %d to %d: %w", have, to, err)
	}
	now, err := p.latest(ctx, provider)
	if err != nil {
		return 0, err
	}
	if now > to {
		return 0, stateErrorf("the executor is at block %d after a rollback to %d: "+
			"delete its data to replay all blocks", now, to)
	}
	return now, nil
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
		st, err := p.replayOne(ctx, prev, h)
		if err != nil {
			return err
		}
		prev = st
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

// recall reads an applied block back. It must be the one that was applied.
func (p *Pipeline) recall(ctx context.Context, st block.State, height uint64) (block.Execution, error) {
	h, err := p.stored(ctx, height)
	if err != nil {
		return block.Execution{}, err
	}
	if !bytes.Equal(h.Hash(), st.LastHeaderHash) {
		return block.Execution{}, stateErrorf("block %d is stored with hash %s but %X was applied: "+
			"the database is damaged; restore a backup or start with empty data", height, h.Digest(), st.LastHeaderHash)
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
