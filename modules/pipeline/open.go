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

// Open is Load and all that Run does before it waits: when it returns, blocks are
// taken.
func (p *Pipeline) Open(ctx context.Context) error {
	if err := p.Load(ctx); err != nil {
		return err
	}
	return p.level(ctx)
}

// Load loads the applied state, or makes the first one, and finds out whether the
// executor is level with it: blocks it has beyond the applied ones are rolled
// back. It must return before blocks come, and may be called again after the
// store was truncated. When the executor lacks blocks, all writing methods wait
// until Run has executed them again.
func (p *Pipeline) Load(ctx context.Context) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	err := p.load(ctx)
	if err != nil || p.Replay() == nil {
		p.leave()
	}
	return err
}

// Run executes again what the executor lacks, then waits for the end of ctx.
func (p *Pipeline) Run(ctx context.Context) error {
	if err := p.level(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (p *Pipeline) load(ctx context.Context) error {
	if err := p.decidePolicy(); err != nil {
		return err
	}
	p.trouble.set(p.policy)
	st, err := p.begun(ctx)
	if err != nil {
		return err
	}
	p.state, p.since = st, st.NextHeight()
	p.recent, p.waiting, p.unsure = recent{}, waiting{}, false
	clear(p.seen)
	if err := p.recallRefuted(ctx); err != nil {
		return err
	}
	if err := p.finishRevert(ctx); err != nil {
		return err
	}
	if err := p.recallProposer(ctx); err != nil {
		return err
	}
	from, err := p.lacking(ctx)
	if err != nil {
		return err
	}
	if err := p.loadFinal(ctx); err != nil {
		return err
	}
	if err := p.undisputed(ctx); err != nil {
		return err
	}
	if to := applied(p.state); from <= to {
		p.replaying.Store(&Replay{At: from, From: from, To: to})
	}
	p.publish(p.next(p.snap.Load().Source, time.Time{}))
	if p.Replay() != nil {
		return nil
	}
	return p.opened(ctx)
}

// undisputed halts the node, where that is the policy, when DA was seen to have
// another header than an applied one: a node that died before it halted must not go
// on at the next start.
func (p *Pipeline) undisputed(ctx context.Context) error {
	if p.policy != PolicyHalt {
		return nil
	}
	for h := max(p.final.height+1, p.genesis.InitialHeight); h <= min(applied(p.state), p.store.Included()); h++ {
		in, err := p.included(ctx, h)
		if err != nil {
			return err
		}
		if in.HeaderDA == 0 {
			continue
		}
		m, err := p.applied(ctx, h)
		if err != nil {
			return err
		}
		if in.HeaderHash != m.hash {
			p.stop(&EquivocationError{Height: h, Applied: m.hash, OnDA: in.HeaderHash, DAHeight: in.HeaderDA, Proven: true})
			return nil
		}
	}
	return nil
}

// opened lets blocks in.
func (p *Pipeline) opened(ctx context.Context) error {
	if err := p.advanceQuietly(ctx); err != nil {
		return err
	}
	p.open = true
	p.keep()
	p.log.Info("pipeline opened", zap.Uint64("applied", applied(p.state)), zap.Uint64("final", p.final.height),
		zap.Uint64("da_cursor", p.store.DA().Floor), zap.Bool("headers_only", p.cfg.HeadersOnly))
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

// begun returns the applied state, which is the genesis state at first.
func (p *Pipeline) begun(ctx context.Context) (block.State, error) {
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
	switch {
	case bytes.Equal(got, start.AppHash):
	case !st.Started(): // by another executor, of which nothing is left
		p.log.Warn("the executor has another state before the first block than at the last start", zap.String("state_root", root(got)),
			zap.String("before", root(start.AppHash)), zap.String("executor", p.executor))
		return p.genesisState(ctx, got)
	default:
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
	return p.genesisState(ctx, root)
}

func (p *Pipeline) genesisState(ctx context.Context, root []byte) (block.State, error) {
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
	from, err := p.lacking(ctx)
	if err != nil {
		return err
	}
	return p.replay(ctx, from, applied(p.state))
}

// lacking returns the first height the executor lacks, the next one when it lacks
// none, after taking back what it has beyond the applied one, or all of it when its
// root is not the one that was applied.
func (p *Pipeline) lacking(ctx context.Context) (uint64, error) {
	provider, ok := p.exec.(heightProvider)
	if p.cfg.HeadersOnly || !ok {
		return p.state.NextHeight(), nil
	}
	have, err := p.latest(ctx, provider)
	if err != nil {
		return 0, err
	}
	if have > applied(p.state) {
		if err := p.ahead(ctx, have); err != nil {
			return 0, fmt.Errorf("note that the executor is at block %d: %w", have, err)
		}
		if have, err = p.rollback(ctx, provider, have, p.state.NextHeight()-1); err != nil {
			return 0, err
		}
	}
	if have, err = p.sameRoot(ctx, have); err != nil {
		return 0, err
	}
	return max(have+1, p.genesis.InitialHeight), nil
}
