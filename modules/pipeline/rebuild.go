package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"
)

// rollback takes back what the executor did beyond a height, and returns the height
// it is at then. An executor that cannot go back so far is rebuilt.
func (p *Pipeline) rollback(ctx context.Context, provider heightProvider, have, to uint64) (uint64, error) {
	r, ok := p.exec.(rollbacker)
	if !ok {
		return p.rebuild(ctx, stateErrorf("the executor is at block %d, ahead of the applied block %d, and cannot roll back: "+
			"restore its data from block %d or below, or start it over to replay all blocks", have, to, to))
	}
	p.log.Warn("executor is ahead, rolling back", zap.Uint64("executed", have), zap.Uint64("to", to))
	err := p.guard("Rollback", to, func() error { return r.Rollback(ctx, to) })
	if err != nil {
		err = fmt.Errorf("roll back executor from block %d to %d: %w", have, to, err)
		if permanent(err) && p.halt == nil {
			return p.rebuild(ctx, err)
		}
		return 0, err
	}
	now, err := p.latest(ctx, provider)
	if err != nil {
		return 0, err
	}
	if now > to {
		return p.rebuild(ctx, stateErrorf("the executor is at block %d after a rollback to %d: "+
			"start it over to replay all blocks", now, to))
	}
	return now, nil
}

// sameRoot compares the executor's root with the one that was applied at the height
// it is at, which it returns, or 0 after the executor was reset. Heights alone do not
// show that it has executed the blocks of another chain: one that was rolled back
// here, or that of another home.
func (p *Pipeline) sameRoot(ctx context.Context, have uint64) (uint64, error) {
	provider, ok := p.exec.(rootProvider)
	if !ok || have < p.genesis.InitialHeight {
		return have, nil
	}
	want, err := p.store.StateAt(ctx, have)
	switch {
	case errors.Is(err, header.ErrNotFound):
		return have, nil
	case err != nil:
		return 0, fmt.Errorf("read state %d: %w", have, err)
	}
	var got []byte
	err = p.guard("StateRoot", have, func() (err error) {
		got, err = provider.StateRoot(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("state root of the executor: %w", err)
	}
	if !bytes.Equal(got, want.AppHash) {
		return p.rebuild(ctx, &RootError{Height: have, Got: got, Want: want.AppHash})
	}
	return have, nil
}

// rebuild resets the executor, which is given all applied blocks again afterwards.
// It returns the height the executor is at, or cause when the executor has to be
// helped by an operator.
func (p *Pipeline) rebuild(ctx context.Context, cause error) (uint64, error) {
	r, ok := p.exec.(resetter)
	if !ok {
		return 0, cause
	}
	p.log.Warn("executor is reset, all blocks are executed again", zap.Uint64("to", applied(p.state)), zap.NamedError("reason", cause))
	if err := p.guard("Reset", applied(p.state), func() error { return r.Reset(ctx) }); err != nil {
		return 0, fmt.Errorf("reset the executor: %w", err)
	}
	start, err := p.store.StateAt(ctx, p.genesis.InitialHeight-1)
	if err != nil {
		return 0, fmt.Errorf("read genesis state: %w", err)
	}
	got, err := p.initChain(ctx)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(got, start.AppHash) {
		return 0, &RootError{Height: p.genesis.InitialHeight - 1, Got: got, Want: start.AppHash}
	}
	return 0, nil
}

// keep tells the executor what it may be rolled back to: a power cut takes from the
// store what was not flushed, and may leave it to the executor.
func (p *Pipeline) keep() {
	k, ok := p.exec.(keeper)
	if !ok {
		return
	}
	height := applied(p.state)
	if s, some := p.store.(interface{ Flushed() uint64 }); some {
		height = min(height, s.Flushed())
	}
	k.KeepFrom(height)
}
