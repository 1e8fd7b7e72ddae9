package da

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// scripted is a client that answers as a test says, in no time.
type scripted struct {
	Client
	mu    sync.Mutex
	head  Head
	delay time.Duration
	fail  error
	blobs func(height uint64) error
	calls int
	epoch string // of a chain that was started over with the same id
	tail  uint64
}

func (c *scripted) set(f func(c *scripted)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *scripted) begin() (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	return c.delay, c.fail
}

func (c *scripted) Head(context.Context) (Head, error) {
	delay, err := c.begin()
	time.Sleep(delay)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head, err
}

func (c *scripted) Blobs(_ context.Context, height uint64, _ ...Namespace) ([]Blob, error) {
	delay, err := c.begin()
	time.Sleep(delay)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case c.blobs != nil:
		return nil, c.blobs(height)
	case height > c.head.Height:
		return nil, fmt.Errorf("read: %w", ErrFuture)
	}
	return nil, nil
}

// HeaderAt answers from the chain the head is of: its hashes are of its id.
func (c *scripted) HeaderAt(_ context.Context, height uint64) (Head, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.fail != nil:
		return Head{}, c.fail
	case height > c.head.Height:
		return Head{}, fmt.Errorf("read: %w", ErrFuture)
	case height < c.tail:
		return Head{}, fmt.Errorf("read: %w", ErrPruned)
	}
	h := Head{Height: height, Chain: c.head.Chain, Hash: fmt.Sprintf("%X", c.head.Chain+c.epoch+strconv.FormatUint(height, 10))}
	if !c.head.Time.IsZero() {
		h.Time = c.head.Time.Add(-time.Duration(c.head.Height-height) * 6 * time.Second)
	}
	return h, nil
}

func (c *scripted) Submit(context.Context, Namespace, [][]byte) (uint64, error) {
	_, err := c.begin()
	return 7, err
}

func (c *scripted) Watch(context.Context) (<-chan uint64, error) { return nil, errors.New("none") }

func (c *scripted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// scriptedPool runs a pool of n scripted endpoints at head 100 until the test ends.
func scriptedPool(t *testing.T, n int) (*Pool, []*scripted) {
	t.Helper()
	p := newPool(zap.NewNop())
	var ends []*scripted
	for i := range n {
		c := &scripted{head: Head{Height: 100, Chain: "da"}}
		ends = append(ends, c)
		p.add(strconv.Itoa(i), c)
	}
	ctx, cancel := newCancel(t)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return p, ends
}

// TestPoolIsQuiet: as long as the endpoint in use does well the others are not
// asked, and with nothing to do nobody is.
func TestPoolIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 3)
		synctest.Wait()
		require.Equal(t, 1, ends[1].count(), "looked at once, at the start")
		time.Sleep(24 * time.Hour)
		require.Equal(t, 1, ends[0].count())
		for range 600 {
			ends[0].set(func(c *scripted) { c.head.Height++ })
			time.Sleep(6 * time.Second)
			_, err := p.Head(t.Context())
			require.NoError(t, err)
			_, err = p.Blobs(t.Context(), 50)
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, 1, ends[1].count()) // one question after the long pause, when the head had stood still
		require.Equal(t, 1, ends[2].count())
	})
}

// TestPoolFollowsTheHead: an endpoint that falls behind, stands still or is slow
// loses the lead to one that does not; the head never goes back meanwhile.
func TestPoolFollowsTheHead(t *testing.T) {
	for name, ill := range map[string]func(c *scripted){
		"stands still": func(*scripted) {},
		"falls behind": func(c *scripted) {
			c.head.Height++
			c.head.Time = c.head.Time.Add(time.Second)
		},
		"goes back":  func(c *scripted) { c.head.Height-- },
		"is slow":    func(c *scripted) { c.head.Height += 10; c.delay = 3 * time.Second },
		"is syncing": func(c *scripted) { c.fail = ErrSyncing },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, ends := scriptedPool(t, 2)
				synctest.Wait()
				ends[0].set(func(c *scripted) { c.head.Time = time.Now() })
				last := uint64(0)
				for range 30 {
					ends[1].set(func(c *scripted) { c.head.Height += 10 })
					ends[0].set(ill)
					time.Sleep(6 * time.Second)
					h, err := p.Head(t.Context())
					require.NoError(t, err)
					require.GreaterOrEqual(t, h.Height, last, "the head went back")
					last = h.Height
					synctest.Wait()
				}
				require.Equal(t, 1, p.reads())
				require.Equal(t, uint64(400), last)
				require.Less(t, ends[0].count()+ends[1].count(), 60, "it asks no more than it must")
			})
		})
	}
}

// TestPoolKeepsTheHeadOfADeadEndpoint: the one that is left is a little behind,
// the reader waits for it.
func TestPoolKeepsTheHeadOfADeadEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		synctest.Wait()
		ends[0].set(func(c *scripted) { c.head.Height = 105 })
		h, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(105), h.Height)
		ends[0].set(func(c *scripted) { c.fail = ErrUnavailable })
		h, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(105), h.Height)
		_, err = p.Blobs(t.Context(), 105)
		require.ErrorIs(t, err, ErrFuture)
		ends[1].set(func(c *scripted) { c.head.Height = 105 })
		_, err = p.Blobs(t.Context(), 105)
		require.NoError(t, err)
	})
}

// TestPoolFuture: what nobody has told of is asked for once.
func TestPoolFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		synctest.Wait()
		before := ends[1].count()
		_, err := p.Blobs(t.Context(), 101)
		require.ErrorIs(t, err, ErrFuture)
		require.Equal(t, before, ends[1].count())
		require.Zero(t, p.reads())
		require.Zero(t, p.Endpoints()[0].Score)
	})
}

// TestPoolHeadOutOfReach: an endpoint that tells of a head it cannot serve is not
// believed, and loses rank.
func TestPoolHeadOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		synctest.Wait()
		ends[0].set(func(c *scripted) {
			c.head.Height = 200
			c.blobs = func(h uint64) error {
				if h > 100 {
					return ErrFuture
				}
				return nil
			}
		})
		h, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(200), h.Height)
		_, err = p.Blobs(t.Context(), 101)
		require.ErrorIs(t, err, ErrFuture)
		require.Equal(t, 1, p.reads())
		require.Equal(t, uint64(1), p.Endpoints()[0].Lies)
		h, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(100), h.Height)
		synctest.Wait()
		p.probe(t.Context()) // it tells again what it cannot serve
		ends[1].set(func(c *scripted) { c.fail = ErrUnavailable })
		h, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(100), h.Height)
		ends[0].set(func(c *scripted) { c.blobs = nil })
		time.Sleep(2 * headLife)
		h, err = p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(200), h.Height, "it may have caught up")
	})
}

// TestPoolPruned: heights that one endpoint has forgotten are read at another, at
// once from then on; they are gone only where nobody has them.
func TestPoolPruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		synctest.Wait()
		below := func(tail uint64) func(uint64) error {
			return func(h uint64) error {
				if h < tail {
					return ErrPruned
				}
				return nil
			}
		}
		ends[0].set(func(c *scripted) { c.blobs = below(50) })
		ends[1].set(func(c *scripted) { c.blobs = below(10) })
		_, err := p.Blobs(t.Context(), 30)
		require.NoError(t, err)
		before := ends[0].count()
		for h := uint64(20); h < 31; h++ {
			_, err = p.Blobs(t.Context(), h)
			require.NoError(t, err)
		}
		require.Equal(t, before, ends[0].count(), "it said that they are gone")
		_, err = p.Blobs(t.Context(), 60)
		require.NoError(t, err)
		require.Equal(t, before+1, ends[0].count())
		_, err = p.Blobs(t.Context(), 5)
		require.ErrorIs(t, err, ErrPruned)
		ends[1].set(func(c *scripted) { c.fail = ErrUnavailable })
		_, err = p.Blobs(t.Context(), 30)
		require.ErrorIs(t, err, ErrUnavailable, "the one that is away may have it")
		require.NotErrorIs(t, err, ErrPruned)
	})
}

// TestPoolOtherChain: an endpoint of another DA chain is never used.
func TestPoolOtherChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(zap.NewNop())
		a, b := &scripted{head: Head{Height: 10, Chain: "one"}}, &scripted{head: Head{Height: 900, Chain: "two"}}
		p.add("a", a)
		p.add("b", b)
		_, err := p.Head(t.Context())
		require.NoError(t, err)
		p.probe(t.Context())
		a.set(func(c *scripted) { c.fail = ErrUnavailable })
		before := b.count()
		_, err = p.Blobs(t.Context(), 10)
		require.ErrorIs(t, err, ErrUnavailable)
		require.Equal(t, before, b.count())
		a.set(func(c *scripted) { c.fail = nil })
		h, err := p.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(10), h.Height)
		require.Contains(t, p.Endpoints()[1].LastErr, "expected one, endpoint b is of two")
		require.True(t, p.Endpoints()[1].Foreign)
	})
}

// TestPoolDoesNotFlap: two endpoints that both fail at times do not take turns,
// and the one that was left is taken back when it is better again.
func TestPoolDoesNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		synctest.Wait()
		moves, last := 0, p.reads()
		for i := range 10_000 {
			for j, c := range ends {
				c.set(func(c *scripted) {
					c.fail = nil
					if (i+j)%7 == 0 {
						c.fail = ErrUnavailable
					}
				})
			}
			_, err := p.Blobs(t.Context(), 50)
			require.NoError(t, err)
			if now := p.reads(); now != last {
				moves, last = moves+1, now
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.Less(t, moves, 25, "in 100 s")
		ends[1-last].set(func(c *scripted) { c.fail = nil })
		ends[last].set(func(c *scripted) { c.fail = ErrUnavailable })
		time.Sleep(10 * time.Minute)
		_, err := p.Blobs(t.Context(), 50)
		require.NoError(t, err)
		require.Equal(t, 1-last, p.reads())
	})
}

// TestPoolHang: an endpoint that does not answer costs one deadline, not each call.
func TestPoolHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bubbleServer(t), bubbleServer(t)
		p := newPool(zap.NewNop())
		p.add("a", a.Client())
		p.add("b", b.Client())
		time.Sleep(5 * time.Second)
		require.NoError(t, a.SetOutage(OutageHang))
		begin := time.Now()
		_, err := p.Blobs(t.Context(), 3, NamespaceOf("a"))
		require.NoError(t, err)
		require.Equal(t, Default().ReadTimeout, time.Since(begin))
		for range 10 {
			_, err = p.Blobs(t.Context(), 3, NamespaceOf("a"))
			require.NoError(t, err)
		}
		require.Equal(t, Default().ReadTimeout, time.Since(begin))
		require.Contains(t, p.Endpoints()[0].LastErr, "no answer in time")
	})
}

// TestPoolAsksOneAtATime: many callers at once, while endpoints come and go.
func TestPoolAsksOneAtATime(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	fronts := []*front{newFront(t, s.URL()), newFront(t, s.URL()), newFront(t, s.URL())}
	p, _ := poolOf(t, fronts[0].URL, fronts[1].URL, fronts[2].URL)
	ctx, cancel := newCancel(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	for i := range 8 {
		wg.Go(func() {
			for h := uint64(1); ctx.Err() == nil; h = h%3 + 1 {
				if _, err := p.Blobs(ctx, h, NamespaceOf("a")); err != nil && ctx.Err() == nil && !errors.Is(err, ErrFuture) {
					t.Errorf("caller %d: %v", i, err)
					return
				}
			}
		})
	}
	waitHeight(t, s, 10)
	fronts[0].kill()
	waitHeight(t, s, s.Status().Height+10)
	fronts[1].kill()
	waitHeight(t, s, s.Status().Height+10)
	cancel()
	wg.Wait()
	require.Equal(t, 2, p.reads())
}

// TestPoolProbesAgainAfterACalm: while doubts change nothing the endpoints are asked
// ever less often; after a calm the next doubt is looked into at once, and so is the
// one after it.
func TestPoolProbesAgainAfterACalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		doubted := func(every time.Duration, times int) int {
			before := ends[1].count()
			for range times {
				p.mu.Lock()
				p.doubt(p.active[reading], reading, time.Now())
				p.mu.Unlock()
				synctest.Wait()
				time.Sleep(every)
			}
			return ends[1].count() - before
		}
		synctest.Wait()
		time.Sleep(probeLeast)
		require.Equal(t, 13, doubted(time.Second, 600), "after 5, 10, 20, 40, and then each 60 s")
		time.Sleep(10 * time.Minute)
		require.Equal(t, 2, doubted(probeLeast, 2))
	})
}
