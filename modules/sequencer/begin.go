package sequencer

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// metaBegun is there once this database is known to hold all the chain had: from
// then on every block signed with the key was made here.
const metaBegun = "begun"

// begin keeps the first block of a database from being signed before it is known
// that the chain has no others: a database that was lost looks like a new chain,
// and signing that chain anew would be signing twice. Everything on DA has to be
// read, however long that takes, and peers are asked for some time.
func (p *Producer) begin(ctx context.Context) error {
	_, begun, err := p.p.Store.Meta(metaBegun)
	switch {
	case err != nil:
		return fmt.Errorf("read what is known of the chain: %w", err)
	case begun:
		return nil
	case p.p.Elsewhere != nil && !p.cfg.BeginUnchecked:
		if err := p.look(ctx); err != nil {
			return err
		}
	}
	if err := p.caughtUp(ctx); err != nil {
		return err
	}
	err = p.retry(ctx, func() error { return p.p.Store.PutMeta(metaBegun, []byte{1}) })
	if err != nil {
		return fmt.Errorf("note that the chain was looked for: %w", err)
	}
	return nil
}

// look waits until everybody was asked.
func (p *Producer) look(ctx context.Context) error {
	const what = "looking for blocks of the chain before one is made"
	if _, err := p.gone(ctx, what, p.p.Elsewhere.OnDA, nil); err != nil {
		return err
	}
	most := time.NewTimer(p.cfg.AskPeers)
	defer most.Stop()
	missing, err := p.gone(ctx, what, p.p.Elsewhere.AtPeers, most.C)
	if err != nil {
		return err
	}
	if missing != "" {
		p.p.Log.Warn("going on without the heads of all peers", zap.String("missing", missing), zap.Duration("waited", p.cfg.AskPeers))
	}
	return nil
}

// idle waits until the chain can take blocks.
func (p *Producer) idle(ctx context.Context) error {
	chain, ok := p.p.Chain.(interface{ Busy() string })
	if !ok {
		return nil
	}
	_, err := p.gone(ctx, "block production waits", chain.Busy, nil)
	return err
}

// gone waits until reason has none, or most delivers, and returns the last one.
// what is logged first.
func (p *Producer) gone(ctx context.Context, what string, reason func() string, most <-chan time.Time) (string, error) {
	const first, longest = 5 * time.Millisecond, 250 * time.Millisecond
	for wait := first; ; wait = min(2*wait, longest) {
		left := reason()
		if left == "" {
			return "", nil
		}
		if wait == first {
			p.p.Log.Info(what, zap.String("for", left))
		}
		p.update(func(s *ProducerStats) { s.WaitingFor = left })
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return left, ctx.Err()
		case <-most:
			timer.Stop()
			return reason(), nil
		case <-timer.C:
		}
	}
}
