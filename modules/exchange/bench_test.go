package exchange

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCatchUp is two hosts in one process on loopback, so that CPU counts
// both sides: the one that serves and the one that follows.
func BenchmarkCatchUp(b *testing.B) {
	for _, bm := range []struct {
		name string
		txs  int
	}{{"empty", 0}, {"10tx", 10}} {
		b.Run(bm.name, func(b *testing.B) {
			const n = 10_000
			c := testutil.NewChain(chainID)
			var bs []block.Block
			for range n {
				txs := make([][]byte, bm.txs)
				for i := range txs {
					txs[i] = make([]byte, 100)
				}
				bs = append(bs, c.Next(txs...))
			}
			b.ReportAllocs()
			var wall, used time.Duration
			for b.Loop() {
				src, dst := newDataNode(b, c, bs), newDataNode(b, c, nil)
				for _, h := range src.store.items {
					h.Trust()
				}
				from, at := cpu(b), time.Now()
				connect(b, dst.machine, src.machine)
				dst.store.reaches(b, n)
				dst.data.reaches(b, n)
				wall += time.Since(at)
				used += cpu(b) - from
			}
			total := float64(b.N) * n
			b.ReportMetric(total/wall.Seconds(), "blocks/s")
			b.ReportMetric(float64(used.Microseconds())/total, "cpu-µs/block")
		})
	}
}
