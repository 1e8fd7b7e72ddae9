package pipeline

import (
	"context"
	"fmt"

	"github.com/tandem-node/tandem/modules/block"
)

// RollBack takes the place of Load on a node that does not run: it removes what the
// stores and the executor have above r.To, and sets the positions on DA to where the
// node has to read again. With r.Header the block that stands above r.To is known
// already. It first finishes a rollback that was cut short; once it has begun, a
// crash does not stop it: the next Load finishes it. The pipeline is not open afterwards.
func (p *Pipeline) RollBack(ctx context.Context, r block.Revert) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	st, err := p.store.State(ctx)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	p.state = st
	if err := p.finishRevert(ctx); err != nil {
		return err
	}
	if err := p.revert(ctx, r); !isReverted(err) {
		return err
	}
	return nil
}
