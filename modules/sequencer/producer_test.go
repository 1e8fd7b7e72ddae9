package sequencer_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/testutil"
)

func TestBlocksComeAtBlockTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		w.genesis.StartTime = start.Add(5 * time.Second)
		w.states[0] = block.GenesisState(w.genesis, nil)
		p := w.process()
		stop := run(t, p.producer().Run)
		after(4 * time.Second)
		require.Zero(t, w.height(), "a block before the genesis time")
		after(6*time.Second + 500*time.Millisecond)
		require.NoError(t, stop())
		bs := w.made()
		require.Len(t, bs, 6)
		for i, b := range bs {
			require.WithinDuration(t, w.genesis.StartTime.Add(time.Duration(i)*time.Second), b.Header.Time(), 0)
		}
		require.Len(t, w.broadcast, 6)
		w.checkChain()
		w.checkSignedOnce()
	})
}

func TestSlowExecutionCausesNoBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var at []time.Time
		w.applyErr = func(b block.Block) error {
			at = append(at, time.Now())
			if b.Height() == 3 {
				time.Sleep(3500 * time.Millisecond)
			}
			return nil
		}
		stop := run(t, w.process().producer().Run)
		after(9 * time.Second)
		require.NoError(t, stop())
		for i := 4; i < len(at); i++ {
			require.GreaterOrEqual(t, at[i].Sub(at[i-1]), time.Second, "block %d", i+1)
		}
		require.Equal(t, 3500*time.Millisecond, at[3].Sub(at[2]), "the block after a late one comes at once")
	})
}

func TestRestartKeepsTheCadence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.process().producer().Run)
		after(2500 * time.Millisecond)
		require.NoError(t, stop())
		require.Len(t, w.made(), 3)
		stop = run(t, w.process().producer().Run)
		after(400 * time.Millisecond)
		require.Len(t, w.made(), 3)
		after(200 * time.Millisecond)
		require.Len(t, w.made(), 4)
		require.NoError(t, stop())
		w.checkChain()
	})
}

func TestLazyChainIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Lazy, w.cfg.LazyInterval = true, time.Hour
		stop := run(t, w.process().producer().Run)
		after(30 * time.Minute)
		require.Len(t, w.made(), 1, "the first block is made at once")
		asked := w.asked()
		require.LessOrEqual(t, asked, 3)

		w.offer([]byte("a=1"))
		synctest.Wait()
		require.Len(t, w.made(), 2, "a transaction makes a block at once")
		w.offer([]byte("b=2"))
		w.offer([]byte("c=3"))
		synctest.Wait()
		require.Len(t, w.made(), 2, "but not before the block time")
		after(1001 * time.Millisecond)
		require.Len(t, w.made(), 3)
		require.Len(t, w.made()[2].Data.Txs, 2)
		after(20 * time.Minute)
		require.Len(t, w.made(), 3)
		require.LessOrEqual(t, w.asked()-asked, 8, "an idle chain asks for nothing")

		after(10 * time.Minute)
		require.Len(t, w.made(), 4, "the lazy interval always makes a block")
		require.WithinDuration(t, w.genesis.StartTime.Add(time.Hour), w.made()[3].Header.Time(), 0, "at its own pace")
		require.NoError(t, stop())
		w.checkChain()
	})
}

// mute hides that the executor can notify.
type mute struct{ sequencer.Executor }

func TestLazyChainPollsWhereItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Lazy, w.cfg.LazyInterval = true, time.Hour
		params := w.process().producerParams()
		params.Executor = mute{params.Executor}
		run(t, sequencer.NewProducer(params).Run)
		after(time.Minute)
		w.offer([]byte("a=1"))
		after(w.cfg.PollInterval + time.Millisecond)
		require.Len(t, w.made(), 2)
		require.InDelta(t, 61, w.asked(), 6)
	})
}

// crier says that transactions wait although there are none.
type crier struct{ *process }

func (crier) TxsAvailable() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func TestFalseNotificationsDoNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Lazy, w.cfg.LazyInterval = true, time.Hour
		p := w.process()
		params := p.producerParams()
		params.Executor = crier{p}
		run(t, sequencer.NewProducer(params).Run)
		after(time.Minute)
		require.Less(t, w.asked(), 300)
	})
}

func TestTransactionsKeepOrderAndBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.MaxBlockBytes = 1000
		var want [][]byte
		for i := range 50 {
			want = append(want, fmt.Appendf(nil, "k%02d=%s", i, bytes.Repeat([]byte("v"), 7*i)))
		}
		w.offer(want[:25]...)
		w.offer(want[23], want[24])             // duplicates of waiting ones
		w.offer(bytes.Repeat([]byte("x"), 998)) // with its frame over the limit
		w.offer(want[25:]...)
		p := w.process()
		producer := p.producer()
		run(t, producer.Run)
		after(30 * time.Second)
		var got [][]byte
		for _, b := range w.made() {
			got = append(got, b.Data.Txs...)
			require.LessOrEqual(t, block.NewData(nil, b.Data.Txs).Size(), 1000)
		}
		require.Equal(t, want, got)
		require.Equal(t, uint64(1), producer.Stats().DroppedTxs)
		require.Equal(t, 1, p.logs.FilterMessage("transactions that fit no block are dropped").Len())
		w.checkChain()
	})
}

func TestLargestBlockFitsABlob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.MaxBlockBytes = block.MaxBlobBytes - 1024
		w.cfg.MaxQueueBytes = 4 * block.MaxBlobBytes
		require.NoError(t, w.cfg.Validate())
		tx := make([]byte, w.cfg.MaxBlockBytes-5)
		w.offer(tx)
		run(t, w.process().producer().Run)
		synctest.Wait()
		b := w.made()[0]
		require.Len(t, b.Data.Txs, 1)
		require.LessOrEqual(t, len(b.Data.EncodeP2P()), block.MaxBlobBytes)
		require.LessOrEqual(t, len(testutil.DataBlob(w.key, b.Data)), block.MaxBlobBytes)
	})
}

func TestTimeNeverGoesBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.process()
		var offset atomic.Int64
		params := p.producerParams()
		params.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		producer := sequencer.NewProducer(params)
		run(t, producer.Run)
		after(5500 * time.Millisecond)
		offset.Store(int64(-1500 * time.Millisecond)) // set back a little: blocks go on with equal times
		after(5 * time.Second)
		require.Len(t, w.made(), 11)
		require.Equal(t, w.made()[5].Header.Time(), w.made()[6].Header.Time())
		offset.Store(int64(-time.Hour)) // set back far: the clock is not followed
		after(time.Minute)
		require.Len(t, w.made(), 71)
		require.Empty(t, producer.Stats().WaitingFor)
		w.checkChain() // includes the rule that times do not decrease
	})
}

func TestWrongKeyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.key = testutil.Key("somebody else")
		producer := w.process().producer()
		stop := run(t, producer.Run)
		after(time.Minute)
		require.Contains(t, producer.Stats().WaitingFor, fmt.Sprintf("its turn: proposer %X", w.genesis.ProposerAddress))
		require.Empty(t, w.payloads)
		require.NoError(t, stop())
	})
}

func TestRotationAwayStopsTheProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		next := bytes.Repeat([]byte{7}, 32)
		w.nextSigner = func(h uint64) []byte {
			if h == 3 {
				return next
			}
			return nil
		}
		producer := w.process().producer()
		stop := run(t, producer.Run)
		after(time.Minute)
		require.Contains(t, producer.Stats().WaitingFor, fmt.Sprintf("its turn: proposer %X", next))
		require.Equal(t, uint64(3), w.height())
		require.NoError(t, stop())
	})
}

// Messages are made while a block is on its way to the disk, and sent when it
// has arrived: never one of a block that is not committed.
func TestNothingIsSentBeforeTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fails := 2
		w.applyErr = func(b block.Block) error {
			synctest.Wait() // the messages are ready
			require.Len(t, w.broadcast, int(b.Height())-1)
			if b.Height() == 2 && fails > 0 {
				fails--
				return errors.New("disk is slow")
			}
			return nil
		}
		run(t, w.process().producer().Run)
		after(9500 * time.Millisecond)
		require.GreaterOrEqual(t, len(w.broadcast), 5)
		w.checkChain()
	})
}

// A restored backup: the stores know blocks that the state does not have.
func TestWaitsForBlocksThatWereMadeBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.process().producer().Run)
		after(4500 * time.Millisecond)
		require.NoError(t, stop())
		lost := w.made()[2:]
		w.mu.Lock()
		w.states, w.blocks, w.extra = w.states[:3], w.blocks[:2], testutil.Headers(lost)
		w.mu.Unlock()

		producer := w.process().producer()
		run(t, producer.Run)
		after(time.Minute)
		require.Equal(t, uint64(2), w.height())
		require.Equal(t, "stored blocks to be applied", producer.Stats().WaitingFor)
		for _, b := range lost {
			require.NoError(t, w.apply(b))
		}
		after(3 * time.Second)
		require.Greater(t, w.height(), uint64(5))
		w.checkSignedOnce()
		w.checkChain()
	})
}

type ahead struct {
	*process
	known *uint64
}

func (a ahead) Ahead() uint64 { return *a.known }

func TestWaitsForBlocksKnownElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		params := w.process().producerParams()
		known := uint64(1)
		params.Chain = ahead{params.Chain.(*process), &known}
		run(t, sequencer.NewProducer(params).Run)
		after(time.Minute)
		require.Zero(t, w.height())
	})
}

func TestPendingBlockThatDoesNotFitIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := testutil.NewChain("another").Next([]byte("a=1"))
		w.pending = &other
		p := w.process()
		run(t, p.producer().Run)
		synctest.Wait()
		require.Equal(t, uint64(1), w.height())
		require.Equal(t, 1, p.logs.FilterMessage("pending block does not fit the chain and is dropped").Len())
	})
}

func TestPendingBlockAboveTheChainStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pending = &testutil.NewChain("seq").Blocks(3, 0)[2]
		p := w.process()
		p.problems = problems.New()
		run(t, p.producer().Run)
		after(time.Hour)
		require.Contains(t, p.problems.List()[0].Reason, "blocks 1 to 2, which this key has signed")
		require.Empty(t, w.payloads)
	})
}

func TestStartGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.StartGrace = time.Minute
		producer := w.process().producer()
		run(t, producer.Run)
		after(59 * time.Second)
		require.Zero(t, w.height())
		require.NotEmpty(t, producer.Stats().WaitingFor)
		after(2 * time.Second)
		require.NotZero(t, w.height())
	})
}

// The module gives what app asks of it, runs both workers and stops them.
func TestModule(t *testing.T) {
	w := newWorld(t)
	w.cfg.BlockTime = 10 * time.Millisecond
	p := w.process()
	var producer *sequencer.Producer
	app := fxtest.New(t,
		fx.Supply(w.cfg, w.genesis, spaces, p.log, p.problems, block.Clock(time.Now)),
		fx.Provide(
			func() *blocktrace.Tracer { return nil },
			func() func() sequencer.DATime { return func() sequencer.DATime { return sequencer.DATime{} } },
			func() sequencer.Reader[*block.SignedHeader] { return headers{w} },
			func() sequencer.Reader[*block.Data] { return datas{w} },
			func() sequencer.Forced { return sequencer.NoForced{} },
			fx.Annotate(func() *process { return p }, fx.As(new(sequencer.Signer)), fx.As(new(sequencer.Chain)), fx.As(new(sequencer.Store)),
				fx.As(new(sequencer.Executor)), fx.As(new(sequencer.Broadcaster)), fx.As(new(sequencer.Elsewhere)), fx.As(new(da.Client))),
		),
		sequencer.Module(), fx.Populate(&producer), fx.NopLogger,
	)
	app.RequireStart()
	for w.height() < 3 {
		<-p.Changed()
	}
	app.RequireStop()
	require.GreaterOrEqual(t, producer.Stats().Produced, uint64(2))
}
