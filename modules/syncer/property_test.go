package syncer_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/notifier"
)

// step is one thing that happens to a syncer, and what the syncer may do before
// the next one happens.
type step struct {
	Do   string
	N    int
	Src  notifier.Source
	Then string
}

func (s step) String() string { return fmt.Sprintf("%s(%d,%s) %s", s.Do, s.N, s.Src, s.Then) }

func stepGen() *rapid.Generator[step] {
	return rapid.Custom(func(t *rapid.T) step {
		return step{
			Do: rapid.SampledFrom([]string{
				"headers", "headers", "data", "data", "both", "both", "one by one", "one by one",
				"headers unheard", "data unheard", "sneak in", "hint", "flood",
				"apply fails", "fetch fails", "jump", "restart",
			}).Draw(t, "do"),
			N:    rapid.IntRange(1, 6).Draw(t, "n"),
			Src:  rapid.SampledFrom([]notifier.Source{notifier.P2P, notifier.Local}).Draw(t, "src"),
			Then: rapid.SampledFrom([]string{"go on", "yield", "settle", "settle", "pass time"}).Draw(t, "then"),
		}
	})
}

// setup is what stays the same during one check.
type setup struct {
	Buffer, MaxBlocks      int
	HeaderRange, DataRange int // limits; 0 is none
	Held                   int
	Slow                   time.Duration
}

func setupGen() *rapid.Generator[setup] {
	return rapid.Custom(func(t *rapid.T) setup {
		return setup{
			Buffer:      rapid.IntRange(1, 3).Draw(t, "buffer"),
			MaxBlocks:   rapid.IntRange(1, 8).Draw(t, "max blocks"),
			HeaderRange: rapid.IntRange(0, 3).Draw(t, "header range"),
			DataRange:   rapid.IntRange(0, 3).Draw(t, "data range"),
			Held:        rapid.IntRange(0, 20).Draw(t, "held at start"),
			Slow:        rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, time.Second}).Draw(t, "slow"),
		}
	})
}

// Whatever is written, lost, refused, restarted or jumped over, and however
// small the buffers: once things settle, the sink has all that the stores hold,
// without an event for it; and then nothing moves any more.
func TestInvariant3_LevelNotEdge_RandomInterleavingsSettleAtTheTop(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		with := setupGen().Draw(rt, "setup")
		steps := rapid.SliceOfN(stepGen(), 1, 50).Draw(rt, "steps")
		// rapid must not stop a bubble half way: the verdict comes out first.
		var verdict error
		synctest.Test(t, func(t *testing.T) { verdict = play(t, with, steps) })
		if verdict != nil {
			rt.Fatal(verdict)
		}
	})
}

func play(t *testing.T, with setup, steps []step) error {
	t.Helper()
	r := newRig(t)
	r.params.Config.EventBuffer, r.params.Config.MaxBlocks = with.Buffer, with.MaxBlocks
	r.headers.most, r.data.most, r.sink.slow = with.HeaderRange, with.DataRange, with.Slow
	r.fill(with.Held)
	r.start()
	unheard := false
	for _, s := range steps {
		unheard = r.take(s, unheard)
		pause(s.Then)
	}
	if unheard {
		// An event that never reached a buffer is made up for by any later one.
		r.events.Publish(notifier.Event{Type: notifier.Data})
	}
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	for r.data.pendingSneaks() > 0 { // Stats looks too, and must not be what lets one in
		r.events.Publish(notifier.Event{Type: notifier.Data})
		time.Sleep(10 * time.Minute)
	}
	settled := r.syncer.Stats()
	time.Sleep(1000 * time.Hour)
	quiet := r.syncer.Stats()
	if err := r.stop(); err != nil {
		return fmt.Errorf("run ended: %w", err)
	}
	switch {
	case r.sink.wrong != nil:
		return r.sink.wrong
	case settled.Next <= settled.Head:
		return fmt.Errorf("settled at %d although the stores are at %d: %+v", settled.Next-1, settled.Head, settled)
	case settled != quiet:
		return fmt.Errorf("moved while nothing happened: %+v then %+v", settled, quiet)
	case len(r.events.Stats().Subscriptions) > 0:
		return fmt.Errorf("subscriptions left open: %+v", r.events.Stats())
	}
	return nil
}

// take does one step and returns whether the last write is still unheard of.
func (r *rig) take(s step, unheard bool) bool {
	switch s.Do {
	case "headers":
		r.addHeaders(r.headerView, s.N, s.Src)
		return false
	case "data":
		r.addData(r.dataView, s.N, s.Src)
		return false
	case "both":
		r.add(s.N, s.Src)
		return false
	case "one by one":
		for range s.N {
			r.add(1, s.Src)
		}
		return false
	case "headers unheard":
		r.addHeaders(r.headers, s.N, s.Src)
		return true
	case "data unheard":
		r.addData(r.data, s.N, s.Src)
		return true
	case "sneak in":
		r.data.sneakIn(func() { r.add(s.N, s.Src) })
	case "hint":
		r.events.Publish(notifier.Event{Type: notifier.Header, Height: uint64(s.N) * 1000, Source: s.Src})
		return false
	case "flood":
		for h := range uint64(100) {
			r.events.Publish(notifier.Event{Type: notifier.Data, Height: h, Source: s.Src})
		}
		return false
	case "apply fails":
		for range s.N {
			r.sink.failNext(errFlaky)
		}
	case "fetch fails":
		r.data.failNext(errFlaky)
	case "jump":
		r.sink.jump(uint64(s.N))
	case "restart":
		require.NoError(r.tb, r.stop())
		r.start()
		return false // it looks before it waits
	}
	return unheard
}

func pause(how string) {
	switch how {
	case "yield":
		runtime.Gosched()
	case "settle":
		synctest.Wait()
	case "pass time":
		time.Sleep(150 * time.Millisecond)
	}
}

// The same in real time: two writers race the syncer through buffers of one
// event. The last block's events are as likely to be dropped as any.
func TestInvariant3_LevelNotEdge_RacingWritersLoseNothing(t *testing.T) {
	const height = 100
	chain()
	var dropped uint64
	for range 30 {
		r := newRig(t)
		r.params.Config.EventBuffer = 1
		r.sink.applied = make(chan uint64, height)
		r.start()
		var writers sync.WaitGroup
		writers.Go(func() {
			for range height {
				r.addHeaders(r.headerView, 1, notifier.P2P)
			}
		})
		writers.Go(func() {
			for range height {
				r.addData(r.dataView, 1, notifier.Local)
			}
		})
		for at := uint64(0); at < height; {
			select {
			case at = <-r.sink.applied:
			case <-time.After(time.Minute):
				t.Fatalf("stuck at %d: %+v", at, r.syncer.Stats())
			}
		}
		writers.Wait()
		require.NoError(t, r.stop())
		require.NoError(t, r.sink.wrong)
		dropped += r.events.Stats().Dropped
	}
	t.Logf("%d events dropped", dropped)
}
