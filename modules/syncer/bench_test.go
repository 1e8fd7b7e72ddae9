package syncer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
)

// runner is what moves blocks from the shelves to the table: the syncer, or
// what the seed had before it.
type runner interface {
	Run(ctx context.Context) error
}

// poller is the seed's previous approach: look at the stores on every tick. It
// lives here only to be compared with.
type poller struct {
	every   time.Duration
	headers syncer.Source[*block.SignedHeader]
	data    syncer.Source[*block.Data]
	sink    syncer.Sink
	wakeups atomic.Uint64
}

func (p *poller) Run(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.wakeups.Add(1)
		next, head := p.sink.Next(), min(p.headers.Height(), p.data.Height())
		if next > head {
			continue
		}
		headers, err := p.headers.GetRange(ctx, next, head+1)
		if err != nil {
			return err
		}
		data, err := p.data.GetRange(ctx, next, head+1)
		if err != nil {
			return err
		}
		blocks := make([]block.Block, len(headers))
		for i := range blocks {
			blocks[i] = block.Block{Header: headers[i], Data: data[i]}
		}
		if err := p.sink.Apply(ctx, blocks, block.SourceP2P); err != nil {
			return err
		}
	}
}

// timed tells when a fetch started.
type timed struct {
	syncer.Source[*block.SignedHeader]
	began chan time.Time
}

func (s timed) GetRange(ctx context.Context, from, to uint64) ([]*block.SignedHeader, error) {
	s.began <- time.Now()
	return s.Source.GetRange(ctx, from, to)
}

// BenchmarkEventToFetch measures the time from the end of an Append to the
// start of the fetch it leads to, and how often a runner wakes up while nothing
// arrives. It takes its own number of samples, whatever b.N is.
func BenchmarkEventToFetch(b *testing.B) {
	b.Run("event-driven", func(b *testing.B) {
		r, began := timedRig(b)
		s := syncer.New(r.params)
		latency(b, r, s, began, 500, 200*time.Microsecond)
		before := s.Stats().Wakeups
		idle(b, r, s, func() uint64 { return s.Stats().Wakeups - before })
	})
	for _, every := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		b.Run(fmt.Sprintf("polling=%s", every), func(b *testing.B) {
			r, began := timedRig(b)
			p := &poller{every: every, headers: r.params.Headers, data: r.data, sink: r.sink}
			latency(b, r, p, began, int(max(5*time.Second/every, 6)), every)
			before := p.wakeups.Load()
			idle(b, r, p, func() uint64 { return p.wakeups.Load() - before })
		})
	}
}

func timedRig(b *testing.B) (*rig, chan time.Time) {
	b.Helper()
	chain()
	r := newRig(b)
	began := make(chan time.Time, 1)
	r.params.Headers = timed{r.headers, began}
	r.sink.applied = make(chan uint64, 1)
	return r, began
}

// latency appends a block at random moments, at most twice gap apart.
func latency(b *testing.B, r *rig, run runner, began chan time.Time, samples int, gap time.Duration) {
	b.Helper()
	stop := running(b, run)
	defer stop()
	took := make([]time.Duration, 0, samples)
	for range samples {
		<-time.After(rand.N(2 * gap))
		r.addHeaders(r.headerView, 1, notifier.P2P)
		r.writer.Lock() // only to build the item off the clock
		item := chain()[r.data.count()].Data
		r.writer.Unlock()
		start := time.Now()
		if err := r.dataView.Append(b.Context(), item); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-began).Sub(start))
		<-r.sink.applied
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// idle reports wake-ups per second while nothing is written.
func idle(b *testing.B, r *rig, run runner, wakeups func() uint64) {
	b.Helper()
	stop := running(b, run)
	defer stop()
	const period = 2 * time.Second
	<-time.After(period)
	b.ReportMetric(float64(wakeups())/period.Seconds(), "idle-wakeups/s")
}

func running(b *testing.B, run runner) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkCatchUp measures what the syncer itself costs per block, between
// stores and a sink that cost next to nothing.
func BenchmarkCatchUp(b *testing.B) {
	chain()
	for _, most := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("max_blocks=%d", most), func(b *testing.B) {
			r := newRig(b)
			r.params.Config.MaxBlocks = most
			r.fill(512)
			r.sink.applied = make(chan uint64, 512)
			b.ReportAllocs()
			for b.Loop() {
				r.sink.next, r.sink.calls = 1, r.sink.calls[:0]
				stop := running(b, syncer.New(r.params))
				for at := uint64(0); at < 512; {
					at = <-r.sink.applied
				}
				stop()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/block")
		})
	}
}
