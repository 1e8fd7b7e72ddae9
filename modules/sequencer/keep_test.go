package sequencer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/testutil"
)

// txs returns the transactions of the chain, in order.
func (w *world) txs() []string {
	var out []string
	for _, b := range w.made() {
		for _, tx := range b.Data.Txs {
			out = append(out, string(tx))
		}
	}
	return out
}

// A lazy chain takes a transaction at once and makes its block when it is time;
// a process that is killed in between, or asked to stop, loses nothing.
func TestTransactionsTakenSurviveACrash(t *testing.T) {
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprint("killed=", killed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.cfg.Lazy, w.cfg.BlockTime, w.cfg.LazyInterval = true, 10*time.Second, time.Hour
				p := w.process()
				stop := run(t, p.producer().Run)
				after(time.Second)
				w.offer([]byte("a=1"), []byte("b=2"))
				after(time.Second)
				require.Empty(t, w.mempool, "taken")
				require.Empty(t, w.txs(), "and not in a block yet")
				if killed {
					p.callMu.Lock()
					p.dead = true
					p.callMu.Unlock()
				}
				require.NoError(t, stop())

				w.offer([]byte("c=3"), []byte("a=1")) // sent once more by a careful client
				p = w.process()
				stop = run(t, p.producer().Run)
				after(20 * time.Second)
				require.NoError(t, stop())
				require.Equal(t, []string{"a=1", "b=2", "c=3"}, w.txs(), "each once, in the order they came")
				require.Empty(t, w.waiting, "what is in a block is out of the queue")
				require.Equal(t, 1, p.logs.FilterMessage("transactions found that wait for a block").Len())
				w.checkChain()
			})
		})
	}
}

// greedy hands out everything, whatever it is asked for.
type greedy struct{ *process }

func (g greedy) GetTxs(ctx context.Context, _ int) ([][]byte, error) {
	return g.process.GetTxs(ctx, 1<<30)
}

// Wherever the process dies, what it has taken comes out once and in order, when
// it got as far as writing it down.
func TestQueueSurvivesCrashesAnywhere(t *testing.T) {
	for _, late := range []bool{false, true} {
		for dieAt := 1; dieAt <= 40; dieAt++ {
			t.Run(fmt.Sprintf("call %d late=%v", dieAt, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.cfg.MaxBlockBytes, w.cfg.MaxQueueBytes = 14, 1<<12
					var want []string
					for i := range 9 {
						tx := fmt.Sprintf("k%d=v", i)
						want = append(want, tx)
						w.offer([]byte(tx))
					}
					p := w.process()
					p.dieAt, p.after = dieAt, late
					params := p.producerParams()
					params.Executor = greedy{p}
					_ = untilDead(t, p, sequencer.NewProducer(params).Run)
					if took := len(w.mempool) == 0; took && len(w.txs()) == 0 && w.pending == nil && len(w.waiting) == 0 {
						// Between the mempool and the disk nobody has them.
						require.Contains(t, []string{"get txs", "save pending"}, p.diedIn)
						want = nil
					}
					p = w.process()
					params = p.producerParams()
					params.Executor = greedy{p}
					stop := run(t, sequencer.NewProducer(params).Run)
					after(10 * time.Second)
					require.NoError(t, stop())
					require.Equal(t, want, w.txs())
					require.Empty(t, w.waiting)
					w.checkSignedOnce()
					w.checkChain()
				})
			})
		}
	}
}

// What was in a pending block that is not made goes into the next one, unless
// the block that came instead has it.
func TestDroppedPendingBlockKeepsItsTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		w.offer([]byte("a=1"), []byte("b=2"), []byte("c=3"))
		p.dieAt = callOf(t, w, "apply")
		require.ErrorIs(t, untilDead(t, p, p.producer().Run), errCrash)
		require.NotNil(t, w.pending)
		lost := *w.pending

		// The same key made another first block elsewhere.
		other := &testutil.Chain{Genesis: w.genesis, Key: w.key, Root: func(uint64) []byte { return []byte("root 0") }}
		require.NoError(t, w.apply(other.Next([]byte("b=2"))))
		w.pending = &lost
		stop := run(t, w.process().producer().Run)
		after(3 * time.Second)
		require.NoError(t, stop())
		require.Equal(t, []string{"b=2", "a=1", "c=3"}, w.txs())
		w.checkChain()
	})
}

func TestQueueIsRestoredWithinNewBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.waitingAt = 7
		w.waiting = [][]byte{[]byte("a=1"), make([]byte, 100), []byte("b=2")}
		w.cfg.MaxBlockBytes, w.cfg.MaxQueueBytes = 20, 40
		p := w.process()
		producer := p.producer()
		stop := run(t, producer.Run)
		after(3 * time.Second)
		require.Equal(t, uint64(1), producer.Stats().DroppedTxs, "what fits no block any more is dropped, and counted")
		require.NoError(t, stop())
		require.Equal(t, []string{"a=1", "b=2"}, w.txs())
		require.Empty(t, w.waiting)
	})
}

// callOf returns the number of the first call of that name.
func callOf(tb testing.TB, like *world, name string) int {
	tb.Helper()
	for n := 1; n < 100; n++ {
		w := newWorld(tb)
		w.mempool = slices.Clone(like.mempool)
		p := w.process()
		p.dieAt = n
		ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
		_ = p.producer().Run(ctx)
		cancel()
		if p.diedIn == name {
			return n
		}
	}
	tb.Fatalf("nothing calls %q", name)
	return 0
}
