package sequencer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/sequencer"
)

// Dies at every single call, before and after its effect, and starts again:
// whatever happens, one payload per height is signed.
func TestCrashAnywhereSignsOnce(t *testing.T) {
	for _, late := range []bool{false, true} {
		for dieAt := 1; dieAt <= 30; dieAt++ {
			t.Run(fmt.Sprintf("call %d late=%v", dieAt, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					p := w.process()
					p.dieAt, p.after = dieAt, late
					w.offer([]byte("a=1"))
					require.ErrorIs(t, untilDead(t, p, p.producer().Run), errCrash)
					after(1700 * time.Millisecond) // another time: a new payload would differ
					w.offer([]byte("b=2"))
					stop := run(t, w.process().producer().Run)
					after(5 * time.Second)
					require.NoError(t, stop())
					require.GreaterOrEqual(t, w.height(), uint64(5))
					w.checkSignedOnce()
					w.checkChain()
				})
			})
		}
	}
}

// untilDead runs a worker until the process has died and the worker noticed, or
// for ten minutes.
func untilDead(t *testing.T, p *process, worker func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	err := worker(ctx)
	// A broadcast or a mempool that dies stops nothing by itself, but the next
	// call does.
	require.True(t, p.dead, "the process did not get so far: %v", err)
	return err
}

// Many crashes in a row, of both workers, with a DA layer that misbehaves.
func TestCrashesInARow(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				w := newWorld(t)
				for life := range 12 {
					p := w.process()
					p.dieAt, p.after = 1+rng.IntN(60), rng.IntN(2) == 0
					w.offer(fmt.Appendf(nil, "life=%d", life))
					s := p.submitter()
					params := p.producerParams()
					params.Posted = s
					stop := [2]func() error{run(t, s.Run), run(t, sequencer.NewProducer(params).Run)}
					after(time.Duration(rng.IntN(20)) * time.Second)
					_ = stop[0]()
					_ = stop[1]()
				}
				p := w.process()
				s := p.submitter()
				stop := run(t, p.producer().Run)
				run(t, s.Run)
				after(30 * time.Second)
				require.NoError(t, stop())
				after(5 * time.Minute)
				w.checkSignedOnce()
				w.checkChain()
				h, d := s.Submitted()
				require.Equal(t, w.height(), h)
				require.Equal(t, w.height(), d)
				hs, ds := w.posted()
				for _, b := range w.made() {
					require.Equal(t, 1, hs[b.Height()], "header %d on DA", b.Height())
					want := 1
					if len(b.Data.Txs) == 0 {
						want = 0
					}
					require.Equal(t, want, ds[b.Height()], "data %d on DA", b.Height())
				}
			})
		})
	}
}
