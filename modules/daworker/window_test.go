package daworker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/beat"
)

// Whatever the latencies, failures and sizes: every height once, in order, within
// the limits.
func TestWindowOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(rt, "heights")
		start := rapid.IntRange(1, 20).Draw(rt, "in flight")
		most := start * rapid.IntRange(1, 4).Draw(rt, "growth")
		latency := rapid.SliceOfN(rapid.IntRange(0, 100), n+1, n+1).Draw(rt, "latency")
		fails := rapid.SliceOfN(rapid.IntRange(-20, 3), n+1, n+1).Draw(rt, "failures")
		end := rapid.IntRange(1, 2*n).Draw(rt, "end") // heights from here on cannot be had
		synctest.Test(t, func(t *testing.T) {
			var flying, peak, held atomic.Int64
			tries := make([]atomic.Int64, n+1)
			var got []uint64
			w := &window{
				start: start, most: most, budget: 50_000, held: &held, beat: new(beat.Beat),
				backoff: func(int) time.Duration { return 30 * time.Millisecond },
				retry:   func(context.Context, uint64, error) error { return nil },
				fetch: func(_ context.Context, h uint64) (*found, error) {
					now := flying.Add(1)
					defer flying.Add(-1)
					for p := peak.Load(); now > p && !peak.CompareAndSwap(p, now); p = peak.Load() {
					}
					time.Sleep(time.Duration(latency[h]) * time.Millisecond)
					if h >= uint64(end) {
						return nil, da.ErrFuture
					}
					if tries[h].Add(1) <= int64(fails[h]) {
						return nil, da.ErrUnavailable
					}
					return &found{height: h, kept: int(h%7) * 1000}, nil
				},
				hand: func(_ context.Context, group []*found) error {
					for _, f := range group {
						got = append(got, f.height)
					}
					return nil
				},
			}
			err := w.run(t.Context(), 1, uint64(n))
			last := min(n, end-1)
			if last < n {
				require.ErrorIs(rt, err, da.ErrFuture)
			} else {
				require.NoError(rt, err)
			}
			require.Len(rt, got, last)
			for i, h := range got {
				require.Equal(rt, uint64(i+1), h)
			}
			require.LessOrEqual(rt, peak.Load(), int64(most))
			require.Zero(rt, flying.Load(), "nothing left behind")
		})
	})
}

// Big answers: what is read ahead stays near the budget.
func TestWindowBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, budget = 1 << 20, 10 << 20
		var held atomic.Int64
		var peak int64
		w := &window{
			start: 16, most: 128, budget: budget, held: &held, beat: new(beat.Beat),
			backoff: func(int) time.Duration { return time.Second },
			retry:   func(context.Context, uint64, error) error { return nil },
			fetch: func(_ context.Context, h uint64) (*found, error) {
				if h%50 == 1 {
					time.Sleep(time.Second) // the others run ahead as far as they may
				}
				return &found{height: h, kept: size}, nil
			},
			hand: func(_ context.Context, group []*found) error {
				peak = max(peak, held.Load()+int64(len(group))*size)
				return nil
			},
		}
		require.NoError(t, w.run(t.Context(), 1, 500))
		require.LessOrEqual(t, peak, int64(budget+16*2*size))
	})
}

func TestWindowGrowsWithLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Int64
		w := &window{
			start: 16, most: 128, budget: 64 << 20, held: &held, beat: new(beat.Beat),
			backoff: func(int) time.Duration { return time.Second },
			retry:   func(context.Context, uint64, error) error { return nil },
			fetch: func(_ context.Context, h uint64) (*found, error) {
				time.Sleep(50 * time.Millisecond)
				return &found{height: h}, nil
			},
			hand: func(context.Context, []*found) error { return nil },
		}
		since := time.Now()
		require.NoError(t, w.run(t.Context(), 1, 10_000))
		require.Greater(t, 10_000/time.Since(since).Seconds(), 2000.0, "heights per second at 50 ms per call")
	})
}

// listed reads lists of heights: the request costs one time, each height another.
func listed(request, height time.Duration, requests *atomic.Int64) (w *window) {
	return &window{
		start: 16, most: 128, budget: 64 << 20, held: new(atomic.Int64), beat: new(beat.Beat),
		backoff: func(int) time.Duration { return time.Second },
		retry:   func(context.Context, uint64, error) error { return nil },
		hand:    func(context.Context, []*found) error { return nil },
		fetch: func(_ context.Context, h uint64) (*found, error) {
			requests.Add(1)
			time.Sleep(request + height)
			return &found{height: h}, nil
		},
		many: func(_ context.Context, heights []uint64) ([]answer, error) {
			requests.Add(1)
			time.Sleep(request + time.Duration(len(heights))*height)
			answers := make([]answer, len(heights))
			for i, h := range heights {
				answers[i] = answer{height: h, found: &found{height: h}}
			}
			return answers, nil
		},
	}
}

// Lists grow where the way to the endpoint is what costs, and only there.
func TestWindowListsHeights(t *testing.T) {
	const n = 50_000
	for name, tt := range map[string]struct {
		request, height time.Duration
		least, most     float64 // heights per request
	}{
		"far away":      {50 * time.Millisecond, 0, 9, 16},
		"busy requests": {200 * time.Microsecond, 50 * time.Microsecond, 4, 16},
		"busy heights":  {0, 50 * time.Millisecond, 1, 1.5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int64
				w := listed(tt.request, tt.height, &requests)
				require.NoError(t, w.run(t.Context(), 1, n))
				each := float64(n) / float64(requests.Load())
				require.GreaterOrEqual(t, each, tt.least)
				require.LessOrEqual(t, each, tt.most)
			})
		})
	}
}

// Large answers come one by one.
func TestWindowListsAreBoundedByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		w := listed(50*time.Millisecond, 0, &requests)
		fetch := w.fetch
		w.fetch = func(ctx context.Context, h uint64) (*found, error) {
			f, err := fetch(ctx, h)
			f.kept = listBytes
			return f, err
		}
		w.many = func(context.Context, []uint64) ([]answer, error) { return nil, errors.New("never") }
		require.NoError(t, w.run(t.Context(), 1, 300))
		require.EqualValues(t, 300, requests.Load())
	})
}

// An endpoint that takes no lists, or not always: every height is read, once and
// in order, and lists are soon given up.
func TestWindowWithoutLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests, lists atomic.Int64
		w := listed(50*time.Millisecond, 0, &requests)
		w.many = func(context.Context, []uint64) ([]answer, error) {
			lists.Add(1)
			return nil, da.ErrUnavailable
		}
		next := uint64(1)
		w.hand = func(_ context.Context, group []*found) error {
			for _, f := range group {
				require.Equal(t, next, f.height)
				next++
			}
			return nil
		}
		require.NoError(t, w.run(t.Context(), 1, 3000))
		require.EqualValues(t, 3001, next)
		require.LessOrEqual(t, lists.Load(), int64(3*trial))
	})
}

func TestTuner(t *testing.T) {
	run := func(u *tuner, requests int, cost func(heights int) time.Duration) {
		for range requests {
			n := u.next(maxList)
			u.note(n, cost(n), false)
		}
	}
	far := func(int) time.Duration { return 50 * time.Millisecond }
	near := func(heights int) time.Duration { return time.Duration(heights) * time.Millisecond }
	var u tuner
	require.Equal(t, 1, u.next(maxList))
	run(&u, 5*trial, far)
	require.Equal(t, maxList, u.next(maxList))
	require.Equal(t, 3, u.next(3))
	require.Equal(t, 1, u.next(-5))
	run(&u, 10*rest, far)
	require.Equal(t, maxList, u.next(maxList), "stays where it is good")
	u.note(1, time.Second, true)
	require.Equal(t, maxList, u.next(maxList), "a height that fails says nothing of lists")
	u.note(maxList, time.Second, true)
	require.Equal(t, 1, u.next(maxList))
	run(&u, rest, far)
	require.Equal(t, 1, u.next(maxList), "not again at once")
	run(&u, 5*trial, far)
	require.Equal(t, maxList, u.next(maxList))

	u = tuner{}
	run(&u, 2*trial, near)
	require.Equal(t, 1, u.next(maxList), "no cheaper in lists")
	u.note(7, time.Nanosecond, false)
	require.Equal(t, 1, u.next(maxList))

	u = tuner{}
	run(&u, trial, far)
	for range trial {
		require.Equal(t, 2, u.next(maxList))
	}
	require.Equal(t, 1, u.next(maxList), "no more lists than it takes to judge them")
	u.begin()
	require.Equal(t, 2, u.next(maxList), "what was asked for before does not count")
}

func TestWindowStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var held atomic.Int64
		w := &window{
			start: 4, most: 8, budget: 1 << 20, held: &held, beat: new(beat.Beat),
			backoff: func(int) time.Duration { return time.Second },
			retry:   func(context.Context, uint64, error) error { return nil },
			fetch: func(ctx context.Context, _ uint64) (*found, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
			hand: func(context.Context, []*found) error { return errors.New("never") },
		}
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		require.ErrorIs(t, w.run(ctx, 1, 100), context.Canceled)
	})
}

// A height that failed, above the one that is waited for, is asked for again as soon
// as another answers, so that it is there when its turn comes.
func TestWindowRetriesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Int64
		failed := make(map[uint64]int)
		w := &window{
			start: 4, most: 4, budget: 1 << 20, held: &held, beat: new(beat.Beat),
			backoff: func(int) time.Duration { return time.Hour },
			retry:   func(_ context.Context, h uint64, _ error) error { failed[h]++; return nil },
			hand:    func(context.Context, []*found) error { return nil },
		}
		w.fetch = func(_ context.Context, h uint64) (*found, error) {
			time.Sleep(map[uint64]time.Duration{1: time.Minute, 2: time.Second}[h])
			if h == 3 && failed[3] == 0 {
				return nil, da.ErrUnavailable
			}
			return &found{height: h}, nil
		}
		begin := time.Now()
		require.NoError(t, w.run(t.Context(), 1, 4))
		require.Equal(t, time.Minute, time.Since(begin))
		require.Equal(t, map[uint64]int{3: 1}, failed)
	})
}
