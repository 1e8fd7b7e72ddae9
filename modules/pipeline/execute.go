package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// The executor is code of others: a panic of it becomes an error that stops the
// pipeline, since what it left behind, locks included, is not known. Where it
// happens on a block of others, again, the process goes on serving (endAfterPanic).

func (p *Pipeline) execute(ctx context.Context, e block.Execution) (res block.ExecResult, err error) {
	began := time.Now()
	defer func() {
		p.executing += time.Since(began)
		if v := recover(); v != nil {
			err = p.panicked("ExecuteTxs", e.Height, v)
		}
	}()
	if res, err = p.exec.ExecuteTxs(ctx, e); err == nil {
		err = named(e.Height, res.NextProposer)
	}
	return res, err
}

func (p *Pipeline) setFinal(ctx context.Context, height uint64) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = p.panicked("SetFinal", height, v)
		}
	}()
	return p.exec.SetFinal(ctx, height)
}

func (p *Pipeline) initChain(ctx context.Context) ([]byte, error) {
	var root []byte
	err := p.guard("InitChain", p.genesis.InitialHeight, func() (err error) {
		root, err = p.exec.InitChain(ctx, p.genesis)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("init chain: %w", err)
	}
	return root, nil
}

func (p *Pipeline) latest(ctx context.Context, provider heightProvider) (uint64, error) {
	var have uint64
	err := p.guard("LatestHeight", applied(p.state), func() (err error) {
		have, err = provider.LatestHeight(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("executor height: %w", err)
	}
	return have, nil
}

// toldFinal returns the last height the executor knows to be final, 0 when it
// does not remember.
func (p *Pipeline) toldFinal(ctx context.Context) (uint64, error) {
	provider, ok := p.exec.(finalProvider)
	if !ok || p.cfg.HeadersOnly {
		return 0, nil
	}
	var have uint64
	err := p.guard("FinalHeight", p.store.Final(), func() (err error) {
		have, err = provider.FinalHeight(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("final height of the executor: %w", err)
	}
	return have, nil
}

func (p *Pipeline) guard(call string, height uint64, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = p.panicked(call, height, v)
		}
	}()
	return f()
}

func (p *Pipeline) panicked(call string, height uint64, v any) error {
	p.halt = &PanicError{Height: height, Call: call, Value: v, Stack: debug.Stack()}
	return p.halt
}
