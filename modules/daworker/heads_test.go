package daworker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// lyingDA tells of another head than it has, for which it answers without blobs.
type lyingDA struct {
	*fakeDA
	head uint64 // 0 is the truth
}

func (l *lyingDA) Head(ctx context.Context) (da.Head, error) {
	h, err := l.fakeDA.Head(ctx)
	l.set(func() {
		if l.head != 0 {
			h.Height = l.head
		}
	})
	return h, err
}

func (l *lyingDA) Blobs(ctx context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	blobs, err := l.fakeDA.Blobs(ctx, height, ns...)
	lies := false
	l.set(func() { lies = l.head != 0 && height > l.fakeDA.head })
	if lies {
		return nil, nil
	}
	return blobs, err
}

func lying() (*env, *lyingDA) {
	e := newEnv()
	l := &lyingDA{fakeDA: e.da}
	e.params.Client, e.params.Marks, e.params.Problems = l, e.marks(), problems.New()
	return e, l
}

// Heights that were read where DA says later that it has none are read again, at once
// when nothing was found there. A restart in between changes nothing: what was
// persisted heals.
func TestHeightsThatDoNotExist(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e, l := lying()
			bs := e.chain.Blocks(60, 1)
			e.postEach(bs[:50])
			l.head = 1 << 62
			e.da.latency = func(uint64) time.Duration { return 10 * time.Millisecond }
			w, stop := e.run(t)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			require.Equal(t, uint64(50), e.data.Height())
			require.Greater(t, w.Status().Cursor, uint64(1000))
			require.Greater(t, e.sink.positions().Scanned, uint64(1000))
			if restart {
				require.NoError(t, stop())
				_, stop = e.run(t)
			}
			l.set(func() { l.head = 0 })
			time.Sleep(7 * time.Second)
			synctest.Wait()
			require.Equal(t, block.DAPositions{Floor: 51, Scanned: 51}, e.sink.positions())
			for i, b := range bs[50:] {
				e.da.put(uint64(51+i), e.header(b), e.body(b))
			}
			e.ends(t, 7*time.Second, bs, stop)
		})
	}
}

// DA goes on to answer for heights above its head without an error: reading ends all
// the same when the head is told truly again.
func TestEndlessEmptyHeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l := lying()
		bs := e.chain.Blocks(10, 1)
		e.postEach(bs[:5])
		l.head = 1 << 62
		e.da.latency = func(uint64) time.Duration { return 10 * time.Millisecond }
		e.params.Client = endless{l}
		w, stop := e.run(t)
		time.Sleep(3 * time.Second)
		l.set(func() { l.head = 0 })
		time.Sleep(7 * time.Second)
		synctest.Wait()
		require.Equal(t, uint64(6), w.Status().Cursor)
		e.da.latency = nil
		for i, b := range bs[5:] {
			e.da.put(uint64(6+i), e.header(b), e.body(b))
		}
		e.ends(t, 7*time.Second, bs, stop)
	})
}

// endless answers for every height.
type endless struct{ *lyingDA }

func (d endless) Blobs(ctx context.Context, height uint64, ns ...da.Namespace) ([]da.Blob, error) {
	blobs, err := d.lyingDA.Blobs(ctx, height, ns...)
	if err != nil {
		return nil, nil //nolint:nilerr // the lie
	}
	return blobs, nil
}

// What a stream told of does not count once another one is open: its endpoint may be
// behind.
func TestStreamsHeadIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFakeDA()
		streams := make(chan (<-chan uint64), 2)
		client.watch = func(context.Context) (<-chan uint64, error) { return <-streams, nil }
		first, second := make(chan uint64, 1), make(chan uint64, 1)
		streams <- first
		streams <- second
		woken := 0
		w := &watcher{client: client, wake: func() { woken++ }}
		w.interval.Store(int64(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first <- 100
		close(first)
		require.ErrorIs(t, w.follow(ctx), errClosed)
		require.Equal(t, uint64(100), w.head.Load())
		second <- 40
		close(second)
		require.ErrorIs(t, w.follow(ctx), errClosed)
		require.Equal(t, uint64(40), w.head.Load())
		require.Equal(t, 2, woken)
	})
}
