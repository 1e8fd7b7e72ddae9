package sequencer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/sequencer"
)

func TestExecutorErrorsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fails := 3
		w.applyErr = func(b block.Block) error {
			if b.Height() == 2 && fails > 0 {
				fails--
				return errors.New("executor is away")
			}
			return nil
		}
		p := w.process()
		producer := p.producer()
		run(t, producer.Run)
		after(1300 * time.Millisecond)
		require.Equal(t, uint64(1), w.height())
		require.Equal(t, "executor is away", producer.Stats().LastError)
		after(1700 * time.Millisecond)
		require.GreaterOrEqual(t, w.height(), uint64(3))
		require.Empty(t, producer.Stats().LastError)
		require.Equal(t, 1, p.logs.FilterMessage("block not applied, trying again").Len())
		require.Equal(t, 1, p.logs.FilterMessage("blocks are applied again").Len())
		w.checkSignedOnce()
	})
}

func TestExecutorThatStaysAwayStopsTheProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.applyErr = func(block.Block) error { return errors.New("executor is away") }
		start := time.Now()
		err := w.process().producer().Run(t.Context())
		require.ErrorContains(t, err, "apply block 1: gave up after 10 tries: executor is away")
		require.Greater(t, time.Since(start), 20*time.Second)
		w.applyErr = func(block.Block) error { return nil }
		run(t, w.process().producer().Run)
		after(3 * time.Second)
		w.checkSignedOnce()
		w.checkChain()
		require.NotZero(t, w.height())
	})
}

func TestInvalidBlockIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tries := 0
		w.applyErr = func(b block.Block) error {
			tries++
			return &block.Violation{Rule: block.ErrBrokenLink, Height: b.Height()}
		}
		require.ErrorIs(t, w.process().producer().Run(t.Context()), block.ErrBrokenLink)
		require.Equal(t, 1, tries)
	})
}

func TestBroadcastFailureDoesNotStopTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		params := p.producerParams()
		params.Broadcaster = hanging{}
		params.Config.BroadcastTimeout = 300 * time.Millisecond
		run(t, sequencer.NewProducer(params).Run)
		after(10500 * time.Millisecond)
		require.Len(t, w.made(), 10+1)
		require.Equal(t, 1, p.logs.FilterMessage("block not broadcast").Len())
	})
}

type hanging struct{}

func (hanging) Prepare(ctx context.Context, _ block.Block) (func() error, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type failing struct {
	sequencer.Executor
	sequencer.Signer
	fails atomic.Int64
}

func (f *failing) GetTxs(ctx context.Context, most int) ([][]byte, error) {
	if f.fails.Add(-1) >= 0 {
		return nil, errors.New("mempool is away")
	}
	return f.Executor.GetTxs(ctx, most)
}

func (f *failing) Sign(ctx context.Context, m block.Message) ([]byte, error) {
	if f.fails.Add(-1) >= 0 {
		return nil, errors.New("signer is away")
	}
	return f.Signer.Sign(ctx, m)
}

func TestMempoolFailureDoesNotStopTheChain(t *testing.T) {
	for _, lazy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Lazy, w.cfg.LazyInterval = lazy, time.Hour
			w.offer([]byte("a=1"))
			p := w.process()
			params := p.producerParams()
			f := &failing{Executor: p}
			f.fails.Store(5)
			params.Executor = f
			run(t, sequencer.NewProducer(params).Run)
			after(20 * time.Second)
			txs := 0
			for _, b := range w.made() {
				txs += len(b.Data.Txs)
			}
			require.Equal(t, 1, txs)
			require.Equal(t, 1, p.logs.FilterMessage("mempool cannot be read").Len())
			require.Equal(t, 1, p.logs.FilterMessage("mempool can be read again").Len())
		})
	}
}

func TestSignerFailureIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		params := p.producerParams()
		f := &failing{Signer: p}
		f.fails.Store(5)
		params.Signer = f
		run(t, sequencer.NewProducer(params).Run)
		after(20 * time.Second)
		require.NotZero(t, w.height())
		w.checkSignedOnce()
	})
}
