package exchange

import (
	"syscall"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	mocknet "github.com/libp2p/go-libp2p/p2p/net/mock"
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

// BenchmarkCatchUpFar is a link with 50 ms round trip; only headers, so that it
// shows whether enough is in flight.
func BenchmarkCatchUpFar(b *testing.B) {
	const n = 20_000
	c := testutil.NewChain(chainID)
	bs := c.Blocks(n, 0)
	var wall time.Duration
	for b.Loop() {
		net := mocknet.New()
		net.SetLinkDefaults(mocknet.LinkOptions{Latency: 25 * time.Millisecond})
		machines := make([]*machine, 2)
		for i := range machines {
			h, err := net.GenPeer()
			require.NoError(b, err)
			ps, err := pubsub.NewGossipSub(b.Context(), h)
			require.NoError(b, err)
			machines[i] = &machine{host: h, ps: ps}
		}
		require.NoError(b, net.LinkAll())
		headerNodeOn(b, machines[0], c, bs)
		dst := headerNodeOn(b, machines[1], c, nil)
		at := time.Now()
		connect(b, machines[1], machines[0])
		dst.store.reaches(b, n)
		wall += time.Since(at)
	}
	b.ReportMetric(float64(b.N)*n/wall.Seconds(), "blocks/s")
}
