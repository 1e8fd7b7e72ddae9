package sequencer_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// wallClock is a clock that can be set.
type wallClock struct{ off atomic.Int64 }

func (c *wallClock) now() time.Time          { return time.Now().Add(time.Duration(c.off.Load())) }
func (c *wallClock) set(wrong time.Duration) { c.off.Store(int64(wrong)) }

// onClock returns a producer whose wall clock can be set. DA has a block every six
// seconds when it has a clock.
func (p *process) onClock(c *wallClock, da func() sequencer.DATime) *sequencer.Producer {
	p.problems = problems.New()
	params := p.producerParams()
	params.Now, params.DATime = c.now, da
	return sequencer.NewProducer(params)
}

// trueDA is a DA layer with the true time, wrong by so much.
func trueDA(wrong time.Duration) func() sequencer.DATime {
	start := time.Now()
	return func() sequencer.DATime {
		since := time.Since(start).Truncate(6 * time.Second)
		return sequencer.DATime{Height: 100 + uint64(since/(6*time.Second)), Time: start.Add(since).Add(wrong)}
	}
}

// checkTimes requires that every block was made with the true time.
func (w *world) checkTimes(start time.Time) {
	w.t.Helper()
	for i, b := range w.made() {
		require.WithinDuration(w.t, start.Add(time.Duration(i)*time.Second), b.Header.Time(), 3*time.Second, "block %d", b.Height())
	}
}

// A wall clock that is set while the node runs, forth or back, for some seconds or
// for good, is not followed: blocks go on at their pace with the time they would have
// had, and the status says so.
func TestClockThatIsSetIsNotFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		step time.Duration
		back bool
	}{
		"an hour forth, for a moment": {time.Hour, true},
		"an hour forth":               {time.Hour, false},
		"an hour back, for a moment":  {-time.Hour, true},
		"an hour back":                {-time.Hour, false},
		"a year forth":                {365 * 24 * time.Hour, false},
		"ten seconds back":            {-10 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				start := time.Now()
				clock := &wallClock{}
				p := w.process()
				run(t, p.onClock(clock, nil).Run)
				after(6500 * time.Millisecond)
				require.Empty(t, p.problems.List())
				clock.set(c.step)
				after(4 * time.Second)
				require.Len(t, p.problems.List(), 1)
				require.Equal(t, problems.Clock, p.problems.List()[0].Kind)
				require.Contains(t, p.problems.List()[0].Reason, "the wall clock was set by")
				if c.back {
					clock.set(0)
				}
				after(time.Minute)
				require.Equal(t, uint64(71), w.height(), "no block was missed")
				w.checkTimes(start)
				require.Equal(t, c.back, len(p.problems.List()) == 0)
			})
		})
	}
}

// A clock that DA's header times confirm is followed: the machine slept.
func TestClockThatDAConfirmsIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clock, slept := &wallClock{}, atomic.Int64{}
		da := trueDA(0)
		p := w.process()
		run(t, p.onClock(clock, func() sequencer.DATime {
			at := da()
			at.Time = at.Time.Add(time.Duration(slept.Load()))
			return at
		}).Run)
		after(20 * time.Second)
		clock.set(time.Hour)
		slept.Store(int64(time.Hour))
		after(20 * time.Second)
		require.Empty(t, p.problems.List())
		made := w.made()
		require.WithinDuration(t, time.Now().Add(time.Hour), made[len(made)-1].Header.Time(), 2*time.Second)
		require.Equal(t, uint64(41), w.height())
		w.checkChain()
	})
}

// A clock that is wrong from the start is held against DA's header times: ahead of
// them no block is signed, behind them production goes on, and both are said.
func TestClockThatIsWrongFromTheStart(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.genesis.StartTime = w.genesis.StartTime.Add(-2 * time.Hour)
				w.states[0].LastTime = w.genesis.StartTime
				clock := &wallClock{}
				clock.set(wrong)
				p := w.process()
				da := trueDA(0)
				run(t, p.onClock(clock, da).Run)
				after(time.Minute)
				require.NotEmpty(t, p.problems.List())
				require.Contains(t, p.problems.List()[0].Reason, "from the time of DA's newest header")
				for _, b := range w.made() {
					require.False(t, b.Header.Time().After(time.Now().Add(5*time.Second)), "block %d is of the future", b.Height())
				}
				require.Greater(t, w.height(), uint64(30))
				clock.set(0)
				after(time.Minute)
				require.Empty(t, p.problems.List())
				w.checkChain()
			})
		})
	}
}

// Nothing is signed by a clock that is ahead before DA has told the time, which takes a
// moment after the start. Where DA does not answer, production goes on without it.
func TestFirstBlockWaitsForDATime(t *testing.T) {
	for name, answers := range map[string]bool{"DA answers late": true, "DA does not answer": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				clock, da := &wallClock{}, trueDA(0)
				stop := run(t, w.process().onClock(clock, nil).Run)
				after(5500 * time.Millisecond)
				require.NoError(t, stop())
				made := w.height()
				after(2 * time.Minute)
				if answers {
					clock.set(12 * time.Hour)
				}
				start := time.Now()
				run(t, w.process().onClock(clock, func() sequencer.DATime {
					if !answers || time.Since(start) < 5*time.Second {
						return sequencer.DATime{}
					}
					return da()
				}).Run)
				after(4 * time.Second)
				require.Equal(t, made, w.height())
				after(26 * time.Second)
				require.Greater(t, w.height(), made+5)
				for _, b := range w.made() {
					require.False(t, b.Header.Time().After(time.Now()), "block %d is of the future", b.Height())
				}
				w.checkChain()
			})
		})
	}
}

// A DA layer that lies about the time cannot put it into blocks of the future, nor
// stop production.
func TestDATimeThatLies(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p := w.process()
				run(t, p.onClock(&wallClock{}, trueDA(wrong)).Run)
				after(time.Minute + time.Second/2)
				require.Equal(t, uint64(61), w.height())
				for _, b := range w.made() {
					require.False(t, b.Header.Time().After(time.Now()))
				}
				require.Len(t, p.problems.List(), 1)
				w.checkChain()
			})
		})
	}
}

// While the clock is behind the last block, production waits, and others hear that
// they must not rely on the node.
func TestWaitForBlockTimeIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.states[0].LastTime = time.Now()
		clock := &wallClock{}
		stop := run(t, w.process().onClock(clock, nil).Run)
		after(3 * time.Second)
		require.NoError(t, stop())
		height := w.height()
		clock.set(-time.Hour) // set back while the node was stopped
		p := w.process()
		run(t, p.onClock(clock, nil).Run)
		after(10 * time.Minute)
		require.Equal(t, height, w.height())
		require.Len(t, p.problems.List(), 1)
		require.True(t, p.problems.List()[0].Unready)
		require.Contains(t, p.problems.List()[0].Reason, "ahead of the clock")
		after(time.Hour)
		require.Greater(t, w.height(), height)
		require.Empty(t, p.problems.List())
	})
}
