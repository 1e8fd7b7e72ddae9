package execution

import (
	"context"
	"sync/atomic"

	"go.uber.org/zap"
)

// frontend is what all built-in executors share: the mempool and the counters.
type frontend struct {
	pool *Mempool
	log  *zap.Logger

	injected, executed, blocks atomic.Uint64 // since the process started
}

func newFrontend(cfg Config, log *zap.Logger) frontend {
	return frontend{pool: NewMempool(cfg.Mempool), log: log}
}

// Submit queues a copy of tx for a later block; see [Submitter].
func (f *frontend) Submit(_ context.Context, tx []byte) error {
	if err := f.pool.Add(tx); err != nil {
		return err
	}
	f.injected.Add(1)
	return nil
}

// LimitTxs bounds the transactions that Submit takes; see [TxLimiter].
func (f *frontend) LimitTxs(most func() int) { f.pool.Limit(most) }

// TxsAvailable returns a channel that holds a value while transactions wait.
func (f *frontend) TxsAvailable() <-chan struct{} { return f.pool.Available() }

// Waiting returns how many transactions the mempool holds, and the bytes they take.
func (f *frontend) Waiting() (txs, bytes int) { return f.pool.Len() }

// GetTxs takes transactions from the mempool; see [Executor].
func (f *frontend) GetTxs(ctx context.Context, maxBytes int) ([][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	txs, dropped := f.pool.Take(maxBytes)
	if dropped > 0 {
		f.log.Warn("transactions larger than a block dropped", zap.Int("txs", dropped), zap.Int("max_bytes", maxBytes))
	}
	return txs, nil
}

func (f *frontend) executedBlock(writes int) {
	f.blocks.Add(1)
	f.executed.Add(uint64(writes)) //nolint:gosec // a length
}

func (f *frontend) stats() stats {
	return stats{InjectedTxs: f.injected.Load(), ExecutedTxs: f.executed.Load(), BlocksProduced: f.blocks.Load()}
}
