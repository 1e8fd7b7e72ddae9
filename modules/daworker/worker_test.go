package daworker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

func TestFollowsFromStartToHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(40, 2)
		for i, b := range bs {
			e.da.put(uint64(i+3), e.header(b), e.body(b))
		}
		w, stop := e.run(t)
		e.requireAll(t, bs)
		require.Equal(t, uint64(43), e.sink.at())
		s := w.Status()
		require.Equal(t, PhaseHead, s.Phase)
		require.Equal(t, uint64(43), s.Cursor)
		require.Empty(t, s.WaitingFor)
		require.Zero(t, s.Pending.Bytes)
		require.NoError(t, stop())
	})
}

// Who waits for the beginning of a long catch-up hears of it, with the head to
// go to, although nothing of the chain is found yet.
func TestTurnedTellsOfTheCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.da.put(5000)
		w := New(e.params)
		turned := w.Turned()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		<-turned
		s := w.Status()
		require.Equal(t, PhaseCatchUp, s.Phase)
		require.Equal(t, uint64(5000), s.Head.Height)
		require.Less(t, s.Cursor, uint64(4000))
		<-w.Turned()
		require.Equal(t, PhaseHead, w.Status().Phase)
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestEmptyBlocksNeedNoDataBlob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := []block.Block{e.chain.Next(), e.chain.Next([]byte("a=1")), e.chain.Next(), e.chain.Next()}
		e.da.put(1, e.header(bs[0]), e.header(bs[1]), e.body(bs[1]), e.header(bs[2]), e.header(bs[3]))
		_, stop := e.run(t)
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}

func TestIdlePollsOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.da.put(5)
		_, stop := e.run(t)
		heads, asked, calls := e.da.polls(), len(e.da.reads()), e.sink.reports()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 600, e.da.polls()-heads)
		require.Len(t, e.da.reads(), asked)
		require.Equal(t, calls, e.sink.reports())
		require.NoError(t, stop())
	})
}

func TestStreamWakesAndReplacesPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		stream := make(chan uint64)
		e.params.Config.Watch = true
		e.da.watch = func(context.Context) (<-chan uint64, error) { return stream, nil }
		e.da.put(1)
		_, stop := e.run(t)
		heads := e.da.polls()
		var bs []block.Block
		for n := range 100 {
			b := e.chain.Next([]byte{byte(n)})
			bs = append(bs, b)
			e.da.put(uint64(n+2), e.header(b), e.body(b))
			stream <- uint64(n + 2)
			synctest.Wait()
			require.Equal(t, b.Height(), e.data.Height(), "woken at once")
			time.Sleep(6 * time.Second)
		}
		require.LessOrEqual(t, e.da.polls()-heads, 20, "the stream makes polls needless, but for the time of the head")
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}

// A failure is over as soon as heights are read, whoever told of them.
func TestStreamEndsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		stream := make(chan uint64)
		e.params.Config.Watch = true
		e.da.watch = func(context.Context) (<-chan uint64, error) { return stream, nil }
		e.da.fail = func(height uint64) error {
			if height == 0 {
				return da.ErrBusy
			}
			return nil
		}
		b := e.chain.Next([]byte("tx"))
		e.da.put(3, e.header(b), e.body(b))
		w, stop := e.run(t)
		require.Equal(t, PhaseFailing, w.Status().Phase)
		require.ErrorContains(t, errors.New(w.Status().LastErr), "busy")
		require.Equal(t, uint64(1), w.Status().Stats.Retries, "asking for the head counts too")
		stream <- 3
		time.Sleep(time.Second) // a back-off
		synctest.Wait()
		e.requireAll(t, []block.Block{b})
		require.Equal(t, PhaseHead, w.Status().Phase)
		require.Empty(t, w.Status().LastErr)
		require.NoError(t, stop())
	})
}

func TestStreamSilentOrClosedFallsBackToPolling(t *testing.T) {
	for _, closes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			e.params.Config.Watch = true
			watches := 0
			e.da.watch = func(context.Context) (<-chan uint64, error) {
				watches++
				stream := make(chan uint64, 1)
				stream <- 2
				if closes {
					close(stream)
				}
				return stream, nil
			}
			e.da.put(2)
			_, stop := e.run(t)
			b := e.chain.Next([]byte("late"))
			e.da.put(3, e.header(b), e.body(b))
			time.Sleep(silentBlocks*da.BlockTimeOf(e.params.Client, e.params.Config.PollInterval) + time.Second)
			synctest.Wait()
			e.requireAll(t, []block.Block{b})
			time.Sleep(10 * time.Minute)
			e.da.set(func() { require.Greater(t, watches, 5, "the stream is asked for again") })
			require.NoError(t, stop())
		})
	}
}

func TestOutageThenBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(300, 1)
		for i, b := range bs[:10] {
			e.da.put(uint64(i+1), e.header(b), e.body(b))
		}
		w, stop := e.run(t)
		require.Equal(t, uint64(10), e.data.Height())
		e.da.set(func() { e.da.fail = func(uint64) error { return da.ErrUnavailable } })
		for i, b := range bs[10:] {
			e.da.put(uint64(i+11), e.header(b), e.body(b))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		s := w.Status()
		require.Equal(t, PhaseFailing, s.Phase)
		require.Contains(t, s.LastErr, "unavailable")
		require.Less(t, e.da.polls(), 1000, "backs off")
		e.da.set(func() { e.da.fail = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		e.requireAll(t, bs)
		require.Equal(t, PhaseHead, w.Status().Phase)
		require.Empty(t, w.Status().LastErr)
		require.NoError(t, stop())
	})
}

func TestOutageInMidWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(100, 1)
		e.postEach(bs)
		tries := map[uint64]int{}
		e.da.fail = func(h uint64) error {
			if tries[h]++; h%7 == 3 && tries[h] < 5 {
				return da.ErrSyncing
			}
			return nil
		}
		_, stop := e.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		e.requireAll(t, bs)
		e.da.set(func() {
			for h, n := range tries {
				if h > 0 && h%7 != 3 {
					require.Equal(t, 1, n, "height %d was disturbed", h)
				}
			}
		})
		require.NoError(t, stop())
	})
}

func TestFutureHeightWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		b := e.chain.Next([]byte("a"))
		e.da.put(9)
		e.da.put(10, e.header(b), e.body(b))
		e.da.fail = func(h uint64) error {
			if h == 10 {
				return da.ErrFuture
			}
			return nil
		}
		w, stop := e.run(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, uint64(10), w.Status().Cursor)
		require.Equal(t, PhaseHead, w.Status().Phase)
		require.Empty(t, w.Status().LastErr)
		require.Less(t, len(e.da.reads()), 700)
		e.da.set(func() { e.da.fail = nil })
		time.Sleep(7 * time.Second)
		synctest.Wait()
		e.requireAll(t, []block.Block{b})
		require.NoError(t, stop())
	})
}

func TestPrunedHeightStopsTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.da.put(200)
		e.da.fail = func(h uint64) error {
			if h >= 88 && h < 100 {
				return da.ErrPruned
			}
			return nil
		}
		w, stop := e.run(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		s := w.Status()
		require.Equal(t, PhasePruned, s.Phase)
		require.Equal(t, uint64(88), s.Cursor)
		require.Equal(t, uint64(88), e.sink.at())
		require.Equal(t, "DA height 88 is pruned below tail", s.LastErr)
		e.da.set(func() { e.da.fail = nil })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, uint64(201), w.Status().Cursor)
		require.Equal(t, PhaseHead, w.Status().Phase)
		require.NoError(t, stop())
	})
}

// An endpoint may be a little behind for a while: what was read stays read where
// blocks of the chain were found, and is read again when the head stays below it.
func TestHeadBackwardsKeepsTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		b := e.chain.Next([]byte("x"))
		e.da.put(50, e.header(b), e.body(b))
		w, stop := e.run(t)
		e.da.set(func() { e.da.head = 20 })
		time.Sleep(50 * time.Second)
		synctest.Wait()
		require.Equal(t, uint64(51), w.Status().Cursor)
		require.Equal(t, uint64(20), w.Status().Head.Height)
		reads := len(e.da.reads())
		b = e.chain.Next([]byte("x"))
		e.da.put(51, e.header(b), e.body(b))
		time.Sleep(7 * time.Second)
		synctest.Wait()
		require.Equal(t, uint64(2), e.data.Height())
		require.Len(t, e.da.reads(), reads+1)
		e.da.set(func() { e.da.head = 20 })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, uint64(21), w.Status().Cursor, "it stays there: it is what DA has")
		require.NoError(t, stop())
	})
}

func TestCursorAtRestartIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Genesis.DAStartHeight = 4
		bs := e.chain.Blocks(6, 1)
		for i, b := range bs[:3] {
			e.da.put(uint64(i+4), e.header(b), e.body(b))
		}
		_, stop := e.run(t)
		require.NoError(t, stop())
		require.ElementsMatch(t, []uint64{4, 5, 6}, e.da.reads())
		e.da.set(func() { e.da.asked = nil })
		for i, b := range bs[3:] {
			e.da.put(uint64(i+7), e.header(b), e.body(b))
		}
		_, stop = e.run(t)
		require.ElementsMatch(t, []uint64{7, 8, 9}, e.da.reads())
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}

func TestDisabledWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Config.Watch = true
		e.da.fail = func(uint64) error { return da.ErrDisabled }
		w, stop := e.run(t)
		time.Sleep(time.Hour)
		require.Equal(t, PhaseDisabled, w.Status().Phase)
		require.Equal(t, 1, e.da.polls())
		require.NoError(t, stop())
	})
}

func TestSinkErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(3, 1)
		e.postEach(bs)
		e.sink.fail(errors.New("disk is slow"))
		w, stop := e.run(t)
		require.Equal(t, PhaseFailing, w.Status().Phase)
		require.Zero(t, e.sink.at())
		e.sink.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		e.requireAll(t, bs)
		require.Equal(t, PhaseHead, w.Status().Phase)
		e.sink.fail(&block.Conflict[*block.SignedHeader]{Height: 2})
		e.da.put(4)
		time.Sleep(7 * time.Second)
		synctest.Wait()
		require.ErrorContains(t, stop(), "conflict at height 2")
	})
}

func TestHeadersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []bool{false, true} {
			e := newEnv()
			e.params.HeadersOnly, e.params.Data = true, nil
			if shared {
				e.params.DataNS = headerNS()
			}
			bs := e.chain.Blocks(5, 1)
			for i, b := range bs {
				e.da.put(uint64(i+1), e.header(b), blob(e.params.DataNS, testutil.DataBlob(e.chain.Key, b.Data)))
			}
			w, stop := e.run(t)
			require.Equal(t, uint64(5), e.headers.Height())
			require.Equal(t, uint64(6), e.sink.at())
			require.Zero(t, w.Status().Stats.Junk)
			require.NoError(t, stop())
		}
	})
}

func TestSharedNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.DataNS = headerNS()
		bs := e.chain.Blocks(5, 2)
		for i, b := range bs {
			e.da.put(uint64(i+1), blob(headerNS(), testutil.DataBlob(e.chain.Key, b.Data)), e.header(b))
		}
		_, stop := e.run(t)
		e.requireAll(t, bs)
		require.Len(t, e.da.reads(), 5, "one call per height")
		require.NoError(t, stop())
	})
}

func TestConfigValidate(t *testing.T) {
	require.NoError(t, Default().Validate())
	for _, change := range []func(*Config){
		func(c *Config) { c.PollInterval = time.Millisecond },
		func(c *Config) { c.InFlight = 0 },
		func(c *Config) { c.MaxInFlight = 1 },
		func(c *Config) { c.PrefetchBytes = 1 },
		func(c *Config) { c.PendingBytes = 1 },
		func(c *Config) { c.QuarantineBytes = 1 },
	} {
		c := Default()
		change(&c)
		require.Error(t, c.Validate())
	}
}

// One read of many that fails is no failure of DA as long as nothing waits for it.
func TestFailureAheadIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(200, 1)
		e.postEach(bs)
		e.da.latency = func(h uint64) time.Duration {
			if h == 1 {
				return 20 * time.Second // slow, yet fine
			}
			return 10 * time.Millisecond
		}
		failed := false
		e.da.fail = func(h uint64) error {
			if h == 5 && !failed {
				failed = true
				return da.ErrUnavailable
			}
			return nil
		}
		w, stop := e.run(t)
		for range 250 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			require.Empty(t, w.Status().LastErr)
			require.NotEqual(t, PhaseFailing, w.Status().Phase)
		}
		require.Equal(t, uint64(1), w.Status().Stats.Retries)
		e.ends(t, time.Second, bs, stop)
	})
}

// Data that is stored again after a rollback is let go like any other: it does not
// hold the floor.
func TestDataBelowARollbackIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(10, 1)
		r := newReader(New(e.params))
		read := func(at uint64, blobs ...da.Blob) {
			e.da.put(at, blobs...)
			require.NoError(t, r.hand(t.Context(), []*found{r.asm.rules.classify(at, blobs, e.params.Now())}))
		}
		for i, b := range bs {
			read(uint64(i+1), e.header(b), e.body(b))
		}
		require.Equal(t, uint64(10), e.data.Height())
		e.data.truncate(3)
		f := r.asm.rules.classify(11, []da.Blob{e.body(bs[5])}, e.params.Now()) // block 4 is missing below
		verify([]*found{f})
		r.asm.add(t.Context(), f)
		require.NoError(t, e.data.put(testutil.DataOf(bs[3:])...)) // by peers, before anything is swept
		read(12)
		require.Zero(t, r.asm.pending.items)
		require.Equal(t, uint64(13), r.told.Floor)
	})
}

// measuring is a client that knows the block time of its DA layer.
type measuring struct {
	da.Client

	every time.Duration
}

func (m *measuring) BlockTime() time.Duration { return m.every }

// TestPaceIsMeasured: the DA block time as measured paces the worker, as long as
// none is set.
func TestPaceIsMeasured(t *testing.T) {
	client := &measuring{Client: da.None{}, every: 3 * time.Second}
	e := newEnv()
	e.params.Client, e.params.Config.PollInterval = client, 0
	w := New(e.params)
	r := newReader(w)
	require.Equal(t, 3*time.Second, r.p.Config.PollInterval)
	require.Equal(t, 3*time.Second, r.watch.blockTime())
	client.every = time.Second
	r.pace()
	require.Equal(t, time.Second, r.watch.blockTime())
	w.p.Config.PollInterval = 7 * time.Second
	r.pace()
	require.Equal(t, 7*time.Second, r.p.Config.PollInterval)
}
