package da

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// TestHeadsThatCannotBe: a head far above what blocks can have reached is not
// believed, told or heard; what one endpoint says does not outlive it.
func TestHeadsThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		p.reportTo(problems.New())
		synctest.Wait()
		require.False(t, p.heard(p.all[0], 1<<62))
		for _, far := range []uint64{1 << 62, 1<<64 - 1, 100_000} {
			_, err := p.tell(p.all[0], Head{Height: far, Chain: "da"}, 0)
			require.ErrorIs(t, err, ErrDishonest)
			ends[0].set(func(c *scripted) { c.head.Height = far })
			h, err := p.Head(t.Context())
			require.NoError(t, err)
			require.Equal(t, uint64(100), h.Height)
		}
		require.Len(t, p.board.List(), 1)
		require.Equal(t, problems.DAEndpoint, p.board.List()[0].Kind)
		require.Contains(t, p.board.List()[0].Reason, "100000")
		require.NotZero(t, p.Endpoints()[0].Lies)
		ends[0].set(func(c *scripted) { c.head.Height = 150 }) // may be, and is not
		time.Sleep(time.Hour)
		h, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(100), h.Height)
		p.tellFrom(t, 0, 150)
		ends[0].set(func(c *scripted) { c.fail = errors.New("dead") })
		h, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(150), h.Height, "it does not go back because another one is asked")
		time.Sleep(2 * headLife)
		h, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(100), h.Height, "who has not answered lately does not count")
		_, err = p.Blobs(t.Context(), 101)
		require.ErrorIs(t, err, ErrFuture)
	})
}

// reportTo sets the board while the pool runs.
func (p *Pool) reportTo(b *problems.Board) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.board = b
}

// tellFrom gives the pool an endpoint's head.
func (p *Pool) tellFrom(t *testing.T, i int, height uint64) {
	t.Helper()
	_, err := p.tell(p.all[i], Head{Height: height, Chain: "da"}, 0)
	require.NoError(t, err)
}

// TestHeadsThatAreQuick: blocks that do come are believed, however quick they come
// and however long nobody looked.
func TestHeadsThatAreQuick(t *testing.T) {
	for name, c := range map[string]struct{ every, look time.Duration }{
		"usual":          {6 * time.Second, 6 * time.Second},
		"quick":          {20 * time.Millisecond, time.Second},
		"after a day":    {3 * time.Second, 24 * time.Hour},
		"quick, an hour": {100 * time.Millisecond, time.Hour},
	} {
		for _, timed := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, ends := scriptedPool(t, 1)
					for range 20 {
						time.Sleep(c.look)
						ends[0].set(func(s *scripted) {
							s.head.Height += uint64(c.look / c.every)
							if timed {
								s.head.Time = time.Now()
							}
						})
						h, err := p.Head(t.Context())
						require.NoError(t, err)
						require.Equal(t, ends[0].head.Height, h.Height)
					}
					if timed {
						require.InDelta(t, c.every, p.BlockTime(), float64(c.every)/5)
						require.Equal(t, p.BlockTime(), BlockTimeOf(p, 0))
						require.Equal(t, time.Second, BlockTimeOf(p, time.Second))
					}
				})
			})
		}
	}
	require.Equal(t, usualInterval, BlockTimeOf(None{}, 0))
}

// TestStalledDALayerIsAProblem: its newest block gets old, or nobody answers; the
// reason goes with the next block.
func TestStalledDALayerIsAProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 1)
		p.reportTo(problems.New())
		look := func(blocks uint64) []problems.Problem {
			time.Sleep(3 * time.Second)
			ends[0].set(func(c *scripted) {
				if blocks > 0 {
					c.head.Height, c.head.Time = c.head.Height+blocks, time.Now()
				}
			})
			_, _ = p.Head(t.Context())
			return p.board.List()
		}
		for range 20 {
			require.Empty(t, look(1))
		}
		for range 15 {
			look(0)
		}
		list := look(0)
		require.Len(t, list, 1)
		require.Equal(t, problems.DAHead, list[0].Kind)
		require.Contains(t, list[0].Reason, "makes no blocks")
		require.Contains(t, list[0].Reason, "one is expected every 3s")
		require.False(t, list[0].Unready)
		require.Empty(t, look(1))
		ends[0].set(func(c *scripted) { c.fail = ErrUnavailable })
		for range 15 {
			look(0)
		}
		require.Contains(t, look(0)[0].Reason, "no DA endpoint has told its head")
		ends[0].set(func(c *scripted) { c.fail = nil })
		require.Empty(t, look(1))
	})
	synctest.Test(t, func(t *testing.T) { // it was old when the node was started
		p, ends := scriptedPool(t, 1)
		p.reportTo(problems.New())
		ends[0].set(func(c *scripted) { c.head.Time = time.Now().Add(-time.Hour) })
		_, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Len(t, p.board.List(), 1)
	})
}

// TestWhoAnswersLeads: an endpoint that hangs loses the lead to one that answers,
// whatever that one was blamed for before, and calls do not wait for its deadline.
func TestWhoAnswersLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bubbleServer(t), bubbleServer(t)
		p := newPool(zap.NewNop())
		p.add("a", a.Client())
		p.add("b", b.Client())
		ctx, cancel := newCancel(t)
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(30 * time.Second)
		p.mu.Lock()
		for range 8 {
			p.all[1].blame(reading, ErrUnavailable, time.Now())
		}
		p.mu.Unlock()
		require.NoError(t, a.SetOutage(OutageHang))
		begin := time.Now()
		_, err := p.Blobs(t.Context(), 3, NamespaceOf("a"))
		require.NoError(t, err)
		require.Less(t, time.Since(begin), 3*slowRead)
		require.Equal(t, 1, p.reads())
		require.Equal(t, 1, p.posts())
		begin = time.Now()
		for range 10 {
			_, err = p.Head(t.Context())
			require.NoError(t, err)
			_, err = p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			require.NoError(t, err)
		}
		require.Less(t, time.Since(begin), 20*time.Second)
		require.NoError(t, a.SetOutage(OutageNone))
		cancel()
		require.NoError(t, <-done)
	})
}
