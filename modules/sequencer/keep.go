package sequencer

import (
	"context"
	"crypto/sha256"
	"fmt"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// A mempool gives its transactions away when it is read, so from then on they
// are on disk: in the queue, in the pending block, or in a block of the chain.
// Each step from one to the next is one batch.

// keep writes the queue down. A failure is made good by the next change.
func (p *Producer) keep(ctx context.Context) {
	c := p.queue.change()
	if c.Empty() {
		return
	}
	if err := p.p.Store.SaveQueue(context.WithoutCancel(ctx), c); err != nil {
		p.keeping.note(err)
		return
	}
	p.kept()
	p.keeping.clear()
}

// kept notes that the disk has what the queue has.
func (p *Producer) kept() {
	p.queue.written()
	p.update(func(s *ProducerStats) { s.QueuedTxs, s.QueuedBytes = len(p.queue.txs), p.queue.held })
}

// recall fills the queue with what an earlier process left: dropped is its
// pending block when that will not be made.
func (p *Producer) recall(ctx context.Context, dropped *block.Block) error {
	first, stored, err := p.p.Store.Queue(ctx)
	if err != nil {
		return fmt.Errorf("read the queue of transactions: %w", err)
	}
	var front [][]byte
	if dropped != nil {
		if front, err = p.notApplied(ctx, *dropped); err != nil {
			return err
		}
	}
	p.queue.restore(front, first, stored)
	if p.queue.empty() {
		return nil
	}
	p.p.Log.Info("transactions found that wait for a block", zap.Int("count", len(p.queue.txs)), zap.Int("bytes", p.queue.bytes))
	p.update(func(s *ProducerStats) {
		s.QueuedTxs, s.QueuedBytes, s.DroppedTxs = len(p.queue.txs), p.queue.held, p.queue.tooBig
	})
	return nil
}

// notApplied returns the transactions of a block that the chain does not have at
// its height.
func (p *Producer) notApplied(ctx context.Context, b block.Block) ([][]byte, error) {
	if b.Data == nil || len(b.Data.Txs) == 0 {
		return nil, nil
	}
	if b.Height() > p.p.Chain.State().LastHeight {
		return b.Data.Txs, nil
	}
	have, err := p.p.Data.GetRange(ctx, b.Height(), b.Height()+1)
	if err != nil {
		return nil, fmt.Errorf("read data %d: %w", b.Height(), err)
	}
	applied := map[[sha256.Size]byte]bool{}
	for _, d := range have {
		for _, tx := range d.Txs {
			applied[sha256.Sum256(tx)] = true
		}
	}
	var out [][]byte
	for _, tx := range b.Data.Txs {
		if !applied[sha256.Sum256(tx)] {
			out = append(out, tx)
		}
	}
	return out, nil
}
