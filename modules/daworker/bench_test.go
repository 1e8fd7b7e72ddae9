package daworker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-node/tandem/modules/block"
)

// BenchmarkCatchUp reads a chain of one block per DA height.
func BenchmarkCatchUp(b *testing.B) {
	const heights = 5000
	for _, latency := range []time.Duration{0, 50 * time.Millisecond} {
		for _, txs := range []int{0, 1} {
			b.Run(fmt.Sprintf("latency=%s/txs=%d", latency, txs), func(b *testing.B) {
				e := newEnv()
				for i, x := range e.chain.Blocks(heights, txs) {
					e.da.put(uint64(i+1), e.header(x))
					if txs > 0 {
						e.da.put(uint64(i+1), e.body(x))
					}
				}
				if latency > 0 {
					e.da.latency = func(uint64) time.Duration { return latency }
				}
				b.ReportAllocs()
				for b.Loop() {
					e.sink = &fakeSink{seen: make(map[block.Inclusion]uint64)}
					e.headers = newMemStore[*block.SignedHeader](1)
					e.data = newMemStore[*block.Data](1)
					e.params.Sink, e.params.DA, e.params.Headers, e.params.Data = e.sink, e.sink.positions, e.headers, e.data
					ctx, cancel := context.WithCancel(b.Context())
					done := make(chan error, 1)
					w := New(e.params)
					go func() { done <- w.Run(ctx) }()
					for e.sink.at() <= heights {
						time.Sleep(time.Millisecond)
					}
					cancel()
					<-done
				}
				b.ReportMetric(float64(b.N)*heights/b.Elapsed().Seconds(), "heights/s")
			})
		}
	}
}
