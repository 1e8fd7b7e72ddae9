package sequencer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/sequencer"
)

func kindField(kind block.Kind) zapcore.Field { return zap.Stringer("kind", kind) }

func TestPostsEverythingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.process().submitter()
		stop := run(t, s.Run)
		for range 60 {
			w.grow(1)
			after(time.Second)
		}
		after(15 * time.Second)
		w.settled(s)
		w.checkPosted(1)
		require.Less(t, len(w.da.submits), 2*12+4, "blocks are batched")
		require.NoError(t, stop())
		require.Equal(t, [2]uint64{60, 60}, w.submitted)
	})
}

func TestIdleSubmitterIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(7)
		p := w.process()
		run(t, p.submitter().Run)
		after(time.Minute)
		calls := p.count()
		after(24 * time.Hour)
		require.Equal(t, calls, p.count())
	})
}

func TestLoneBlockIsPostedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		run(t, w.process().submitter().Run)
		after(time.Hour)
		w.grow(1)
		synctest.Wait()
		require.Len(t, w.da.submits, 1)
	})
}

func TestStrategies(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*sequencer.SubmitConfig)
		atMost  int
		atLeast int
	}{
		"time":      {func(*sequencer.SubmitConfig) {}, 14, 8},
		"min items": {func(c *sequencer.SubmitConfig) { c.MinItems = 20 }, 3, 2},
		"size":      {func(c *sequencer.SubmitConfig) { c.Strategy, c.MaxBytes = "size", 50_000 }, 3, 1},
		"adaptive":  {func(c *sequencer.SubmitConfig) { c.Strategy, c.MaxDelay = "adaptive", time.Hour }, 2, 1},
		"immediate": {func(c *sequencer.SubmitConfig) { c.Strategy, c.DABlockTime = "immediate", time.Second }, 60, 55},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c.change(&w.cfg.Submit)
				require.NoError(t, w.cfg.Validate())
				w.da = newFakeDA(w.cfg.Submit.DABlockTime)
				s := w.process().submitter()
				run(t, s.Run)
				for range 60 {
					w.grow(1)
					after(time.Second)
				}
				n := int(s.Stats().Header.Submissions)
				require.GreaterOrEqual(t, n, c.atLeast)
				require.LessOrEqual(t, n, c.atMost)
			})
		})
	}
}

// Whatever waits is posted once production pauses, or both would wait for ever.
func TestSizeStrategyYieldsToThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Submit.Strategy, w.cfg.MaxPending = "size", 5
		p := w.process()
		s := p.submitter()
		params := p.producerParams()
		params.Posted = s
		run(t, s.Run)
		run(t, sequencer.NewProducer(params).Run)
		after(time.Minute)
		require.Greater(t, w.height(), uint64(20))
	})
}

func TestAmbiguousOutcomes(t *testing.T) {
	unknown := func(f fate) func() fate {
		f.err = fmt.Errorf("%w: cut off", da.ErrUnknown)
		return func() fate { return f }
	}
	for name, c := range map[string]struct {
		script []func() fate
		copies int // of each header, at most
		sends  int // submissions, both lanes
	}{
		"landed":              {[]func() fate{unknown(fate{lands: []uint64{1}}), unknown(fate{lands: []uint64{1}})}, 1, 2},
		"landed late":         {[]func() fate{unknown(fate{lands: []uint64{3}}), unknown(fate{lands: []uint64{3}})}, 1, 2},
		"lost":                {[]func() fate{unknown(fate{}), unknown(fate{})}, 1, 4},
		"lost twice":          {[]func() fate{unknown(fate{}), unknown(fate{}), unknown(fate{}), unknown(fate{})}, 1, 6},
		"landed twice":        {[]func() fate{unknown(fate{lands: []uint64{1, 2}}), unknown(fate{lands: []uint64{1, 2}})}, 2, 2},
		"landed partly":       {[]func() fate{unknown(fate{lands: []uint64{1}, only: 2}), unknown(fate{lands: []uint64{1}, only: 2})}, 1, 4},
		"landed after resend": {[]func() fate{unknown(fate{lands: []uint64{5}}), unknown(fate{lands: []uint64{5}}), unknown(fate{}), unknown(fate{})}, 1, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.grow(9)
				w.da.script = c.script
				s := w.process().submitter()
				run(t, s.Run)
				after(5 * time.Minute)
				w.settled(s)
				w.checkPosted(c.copies)
				require.Len(t, w.da.submits, c.sends)
			})
		})
	}
}

func TestHangingSubmissionIsFoundByLooking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(4)
		p := w.process()
		s := p.submitter(func(sp *sequencer.SubmitterParams) { sp.Client = cutOff{p} })
		run(t, s.Run)
		after(5 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
	})
}

// cutOff gives up on every submission, with an error that says nothing.
type cutOff struct{ *process }

func (c cutOff) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := c.process.Submit(ctx, ns, blobs); err != nil {
		return 0, ctx.Err()
	}
	return 0, context.DeadlineExceeded
}

// A call that hangs for many DA blocks says nothing of when its transaction
// lands: it may be after the caller gave up.
func TestSubmissionThatLandsAfterItHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(4)
		p := w.process()
		s := p.submitter(func(sp *sequencer.SubmitterParams) { sp.Client = tardy{p, new(sync.Map)} })
		run(t, s.Run)
		after(5 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
		require.Len(t, w.da.submits, 2)
	})
}

// tardy lets the first submission to each namespace hang for ten DA blocks.
// What it posted lands right after it gave up.
type tardy struct {
	*process

	seen *sync.Map
}

func (c tardy) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (uint64, error) {
	if _, again := c.seen.LoadOrStore(ns, true); !again {
		time.Sleep(10 * c.da.period)
		lost := func() fate { return fate{lands: []uint64{1}, err: da.ErrUnknown} }
		c.da.set(func(d *fakeDA) { d.script = append([]func() fate{lost}, d.script...) })
	}
	return c.process.Submit(ctx, ns, blobs)
}

func TestTooLargeIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(100)
		w.da.limit = 3000
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		after(20 * time.Minute)
		w.settled(s)
		w.checkPosted(1)
		refused := p.logs.FilterMessage("submission is too large for the DA layer, sending half").Len()
		require.Less(t, refused, 20, "the limit is learnt")
	})
}

func TestOutageIsSurvivedAndSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.da.down = true
		p := w.process()
		s := p.submitter()
		run(t, s.Run)
		for range 300 {
			w.grow(1)
			after(time.Second)
		}
		require.NotEmpty(t, s.Stats().Header.LastError)
		calls := p.count()
		after(time.Minute)
		require.Less(t, p.count()-calls, 30, "back-off")
		w.da.set(func(d *fakeDA) { d.down = false })
		after(time.Minute)
		w.settled(s)
		w.checkPosted(1)
		for _, kind := range []block.Kind{block.KindHeader, block.KindData} {
			require.Equal(t, 1, p.logs.FilterField(kindField(kind)).FilterLevelExact(zap.WarnLevel).Len())
			require.Equal(t, 1, p.logs.FilterMessage("the DA layer takes blocks again").FilterField(kindField(kind)).Len())
		}
	})
}

func TestRefusalsAreRetried(t *testing.T) {
	for name, cause := range map[string]error{"fee": da.ErrFee, "busy": da.ErrBusy, "auth": da.ErrAuth, "unavailable": da.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.grow(4)
				for range 8 {
					w.da.script = append(w.da.script, func() fate { return fate{err: cause} })
				}
				s := w.process().submitter()
				run(t, s.Run)
				after(time.Second)
				require.ErrorContains(t, cause, s.Stats().Header.LastError)
				after(10 * time.Minute)
				w.settled(s)
				w.checkPosted(1)
				require.Len(t, w.da.submits, 10)
			})
		})
	}
}

// A node mempool that was full may have kept the transaction all the same.
func TestBusyThatLandedIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(4)
		landed := func() fate { return fate{lands: []uint64{0}, err: da.ErrBusy} }
		w.da.script = []func() fate{landed, landed}
		s := w.process().submitter()
		run(t, s.Run)
		after(time.Minute)
		w.settled(s)
		require.Len(t, w.da.submits, 2)
	})
}

func TestHeadersAndDataAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(10)
		p := w.process()
		s := p.submitter(func(sp *sequencer.SubmitterParams) { sp.Client = oneSided{p} })
		run(t, s.Run)
		after(time.Minute)
		h, d := s.Submitted()
		require.Zero(t, h)
		require.Equal(t, uint64(10), d)
		require.Equal(t, uint64(10), s.Stats().Header.Lag)
	})
}

// oneSided refuses headers.
type oneSided struct{ *process }

func (c oneSided) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (uint64, error) {
	if ns == spaces.Header {
		return 0, da.ErrBusy
	}
	return c.process.Submit(ctx, ns, blobs)
}

func TestNoDALayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.grow(3)
		p := w.process()
		s := p.submitter(func(sp *sequencer.SubmitterParams) { sp.Client = da.None{} })
		stop := run(t, s.Run)
		after(time.Hour)
		require.Contains(t, s.Stats().Header.WaitingFor, "none is configured")
		require.NoError(t, stop())
		require.Zero(t, p.logs.FilterLevelExact(zap.WarnLevel).Len())
	})
}
