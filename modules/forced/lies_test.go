package forced

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// bent is a DA layer whose answers are bent.
type bent struct {
	da.Client

	failsAt uint64 // reading this height fails
	below   uint64 // heights below are gone
	calls   int
}

var errAway = errors.New("timeout")

func (b *bent) Blobs(ctx context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	b.calls++
	switch {
	case height < b.below:
		return nil, da.ErrPruned
	case height == b.failsAt:
		return nil, errAway
	}
	return b.Client.Blobs(ctx, height, ns...)
}

func (b *bent) HeaderAt(ctx context.Context, height uint64) (da.Head, error) {
	if height < b.below {
		return da.Head{}, da.ErrPruned
	}
	return b.Client.HeaderAt(ctx, height)
}

// What is forced while a sequencer catches up does not keep its mempool out for
// longer than the catching up takes.
func TestCatchUpEnds(t *testing.T) {
	for _, length := range []uint64{1, 2, 5} {
		t.Run(strconv.FormatUint(length, 10), func(t *testing.T) {
			w := newWorld(t)
			w.chain.Genesis.DAEpochForcedInclusion = length
			w.block(0, 1)
			w.head = 20
			for h := uint64(1); h < 100; h++ {
				w.force(h, fmt.Sprintf("tx-%d", h))
			}
			taker := w.taker()
			require.True(t, taker.Only())
			only := 0
			for w.head = 21; w.head < 100; w.head++ { // a round per DA block, six blocks per DA block
				w.round(taker)
				for range 6 {
					w.produce(taker, 1000)
				}
				if taker.Only() {
					only++
				}
			}
			require.Less(t, only, 15)
		})
	}
}

// A read that fails in the first round ends nothing early.
func TestCatchUpSurvivesAFailedRead(t *testing.T) {
	w := newWorld(t)
	w.block(0, 1)
	w.head = 15
	for h := uint64(1); h < 16; h++ {
		w.force(h, fmt.Sprintf("tx-%d", h))
	}
	p := w.params()
	layer := &bent{Client: w, failsAt: 12}
	p.Client = layer
	taker := NewTaker(p)
	require.ErrorIs(t, taker.round(t.Context(), true), errAway)
	layer.failsAt = 0
	require.NoError(t, taker.round(t.Context(), true))
	require.True(t, taker.Only())
	got := 0
	for taker.Only() {
		got += len(w.produce(taker, 1000))
		w.round(taker)
	}
	require.Equal(t, 15, got)
}

// Heads that are too high for a while, with nothing above the true one, cost
// nothing: what is forced later is taken, also by the next process.
func TestTakerGoesBackWithTheHead(t *testing.T) {
	for _, lies := range []int{1, 2, 10} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d lies, restart %v", lies, restart), func(t *testing.T) {
				w := newWorld(t)
				w.block(0, 1)
				w.head = 10
				taker := w.taker()
				for i := range lies {
					w.head = 100_000 + uint64(i)*epoch
					w.round(taker)
				}
				w.head = 10
				for h := uint64(11); h < 60; h++ {
					w.force(h, fmt.Sprintf("tx-%d", h))
				}
				if restart {
					taker = w.taker()
				}
				got := 0
				for w.head = 11; w.head < 65; w.head++ {
					w.round(taker)
					got += len(w.produce(taker, 1000))
				}
				require.Equal(t, 49, got)
			})
		}
	}
}

// The same for whoever checks: DA is read again, and so is what was forced.
func TestWatcherGoesBackWithTheScan(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t)
		w.block(0, 1)
		watcher := w.watcher()
		require.NoError(t, w.check(watcher, 10))
		require.NoError(t, w.check(watcher, 1000))
		require.Equal(t, uint64(200), watcher.epoch)
		w.head = 10
		w.force(12, "wanted")
		if restart {
			watcher = w.watcher()
		}
		var err error
		for w.head = 11; w.head < 60 && err == nil; w.head++ {
			w.block(w.head, w.head)
			err = w.check(watcher, w.head)
		}
		var censored *CensorError
		require.ErrorAs(t, err, &censored, "restart %v", restart)
		require.Equal(t, Position{12, 0}, censored.At)
	}
}

// Heights that are gone from DA are skipped, by both sides, and it is said. One
// such answer alone is not believed.
func TestPrunedHeightsAreSkipped(t *testing.T) {
	w := newWorld(t)
	w.block(0, 1)
	for h := uint64(3); h < 60; h++ {
		w.force(h, fmt.Sprintf("tx-%d", h))
	}
	p := w.params()
	p.Problems = problems.New()
	layer := &bent{Client: w, below: 8}
	p.Client = layer
	taker, watcher := NewTaker(p), NewWatcher(p, w)
	w.head = 20
	require.ErrorIs(t, taker.round(t.Context(), true), da.ErrPruned)
	require.Equal(t, uint64(1), taker.Stats().Front.DAHeight)
	got := 0
	for w.head = 21; w.head < 70; w.head++ {
		require.NoError(t, taker.round(t.Context(), true))
		got += len(w.produce(taker, 1000))
		w.cursor = w.head + 1
		_ = watcher.round(t.Context())
	}
	require.Equal(t, 52, got, "all that is left")
	require.Greater(t, watcher.epoch, uint64(11))
	require.Zero(t, w.waits(watcher))
	list := p.Problems.List()
	require.Len(t, list, 1)
	require.Equal(t, problems.DAPruned, list[0].Kind)
	require.Contains(t, list[0].Reason, "what was forced at heights 1 to 7")
	require.Less(t, layer.calls, 200)
}

// An answer that a height is gone which another endpoint has costs nothing.
func TestOneWrongPrunedAnswer(t *testing.T) {
	w := newWorld(t)
	w.block(0, 1)
	w.force(2, "tx")
	w.head = 10
	p := w.params()
	layer := &bent{Client: w, below: 8}
	p.Client = layer
	taker := NewTaker(p)
	require.ErrorIs(t, taker.round(t.Context(), true), da.ErrPruned)
	layer.below = 0
	require.NoError(t, taker.round(t.Context(), true))
	require.Equal(t, []string{"tx"}, w.produce(taker, 100))
}

// Where data lies on DA out of order, whoever looks, live or years after, comes to
// the same end. A header alone is no block.
func TestWatchersAgreeOnBlocksOutOfOrder(t *testing.T) {
	run := func(live bool) (*Watcher, error) {
		w := newWorld(t)
		w.block(0, 1)
		w.force(2, "wanted")
		w.block(6, 6, []byte("slow")) // its data lands at height 62
		in := w.seen[2]
		in.DataDA = 62
		w.seen[2] = in
		for h := uint64(7); h < 70; h++ {
			w.block(h, h)
		}
		watcher := w.watcher()
		var err error
		for h := uint64(1); h <= 75 && err == nil; h++ {
			w.final = 0
			for i, b := range w.blocks {
				in := w.seen[b.Height()]
				if at := max(in.HeaderDA, in.DataDA); live && at > h {
					break
				}
				w.final = uint64(i) + 1
			}
			err = w.check(watcher, h)
		}
		return watcher, err
	}
	a, liveErr := run(true)
	b, lateErr := run(false)
	require.NoError(t, liveErr)
	require.NoError(t, lateErr)
	require.Equal(t, a.strikes, b.strikes)
	require.Equal(t, uint64(2), a.strikes, "the blocks count from height 62 on")
}

// A failed read after an epoch was judged does not judge it again.
func TestAnEpochIsJudgedOnce(t *testing.T) {
	w := newWorld(t)
	w.force(2, "wanted")
	w.block(0, 1)
	p := w.params()
	layer := &bent{Client: w}
	p.Client = layer
	watcher := NewWatcher(p, w)
	w.head = 5
	require.NoError(t, w.check(watcher, 5))
	w.block(6, 6)
	layer.failsAt = 10
	for range 10 {
		require.Error(t, w.check(watcher, 10))
	}
	require.Equal(t, uint64(1), watcher.strikes)
}

// The checkpoint names one transaction, not a DA height: those before it at the
// same height were taken.
func TestCheckpointHasAnIndex(t *testing.T) {
	w := newWorld(t)
	w.force(2, "a", "b", "c")
	w.block(0, 1)
	w.head = 5
	taker := w.taker()
	require.Equal(t, []string{"a", "b"}, w.produce(taker, 6))
	taker.trail = trail[Position]{}
	_, _, err := taker.Take(t.Context(), w.state(), 6)
	require.NoError(t, err)
	// The chain cannot tell the next process: it knows by the checkpoint alone.
	w.blocks = w.blocks[:1]
	next := w.taker()
	require.Equal(t, Position{2, 2}, next.Stats().Front)
	require.Equal(t, 1, next.Stats().Waiting)
}

// A sequencer that posts headers and keeps the data of one back is not struck, since
// nobody can tell whether it could post it, but it is said.
func TestWithheldDataIsSaid(t *testing.T) {
	w := newWorld(t)
	w.force(2, "wanted")
	w.block(0, 1)
	w.block(6, 6, []byte("kept back"))
	w.seen[2] = block.Included{HeaderHash: w.blocks[1].Header.Digest(), HeaderDA: 6}
	for h := uint64(7); h < 60; h++ {
		w.block(h, h)
	}
	p := w.params()
	p.Problems = problems.New()
	watcher := NewWatcher(p, w)
	for h := uint64(5); h < 60; h++ {
		w.final = 1
		require.NoError(t, w.check(watcher, h))
	}
	require.Zero(t, watcher.strikes)
	list := p.Problems.List()
	require.Len(t, list, 1)
	require.Equal(t, problems.Forced, list[0].Kind)
	require.Contains(t, list[0].Reason, "the header of block 2 lies at DA height 6 and its data is not on DA")
	in := w.seen[2]
	in.DataDA = 61
	w.seen[2] = in
	w.final = uint64(len(w.blocks))
	require.NoError(t, w.check(watcher, 66))
	require.Empty(t, p.Problems.List())
}
