//go:build e2e && linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/testutil/bench/delay"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// TestTorture_SilentStreams: strangers hold range streams of the only peer a follower
// has, in every way that costs them nothing. Its catch-up takes hardly longer.
func TestTorture_SilentStreams(t *testing.T) {
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=10ms")
	seq.start()
	const blocks = 1500
	// A follower that gets no slot waits for exchange.serve_timeout, 10 s, at least. How much
	// a busy machine delays is for the benchmark.
	const held = 8 * time.Second
	seq.applies(blocks)
	catchUp := func(name string) time.Duration {
		n := w.follower(name, seq.viaP2P())
		began := time.Now()
		n.start()
		n.applies(blocks)
		took := time.Since(began)
		require.Zero(t, n.scrape().by(names.MetricFaults)["stalled"])
		n.kill()
		return took
	}
	catchUp("warm")
	alone := min(catchUp("alone1"), catchUp("alone2"))
	for name, attack := range map[string]func(context.Context, network.Stream, *stream.Peer){
		"half": func(_ context.Context, s network.Stream, _ *stream.Peer) { _, _ = s.Write([]byte{64}) },
		"trickle": func(ctx context.Context, s network.Stream, _ *stream.Peer) {
			for range 64 {
				if _, err := s.Write([]byte{64}); err != nil || ctx.Err() != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"reset": func(_ context.Context, s network.Stream, _ *stream.Peer) {
			_, _ = s.Write([]byte{64})
			_ = s.Reset()
		},
	} {
		beside := besides(t, w, seq, attack, func() time.Duration { return catchUp(name) })
		t.Logf("catch-up of %d blocks: %s alone, %s beside streams that %s", blocks, alone, beside, name)
		require.LessOrEqual(t, beside, alone+held)
	}
	unread := besides(t, w, seq, nil, func() time.Duration { return catchUp("unread") })
	t.Logf("catch-up of %d blocks: %s alone, %s beside answers that are not read", blocks, alone, unread)
	require.LessOrEqual(t, unread, alone+held)
}

// besides runs f while strangers hold as many streams as they get; without an attack
// they send whole requests and do not read.
func besides(t *testing.T, w *world, n *node, attack func(context.Context, network.Stream, *stream.Peer), f func() time.Duration) time.Duration {
	t.Helper()
	const strangers, streams = 4, 48
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	to, err := peer.AddrInfoFromString(n.p2pAddress())
	require.NoError(t, err)
	for range strangers {
		p, err := stream.NewPeer(ctx, stream.Config{
			ChainID: w.chain, Bare: true, Options: []libp2p.Option{libp2p.ListenAddrStrings("/ip4/" + w.newIP() + "/tcp/0")},
		})
		require.NoError(t, err)
		t.Cleanup(p.Close)
		require.NoError(t, p.Host.Connect(ctx, *to))
		for i := range streams {
			kind := []stream.Kind{stream.Headers, stream.Data}[i%2]
			all.Go(func() {
				for ctx.Err() == nil {
					if attack == nil {
						p.Slow(ctx, to.ID, kind, 1)
					} else if s, err := p.Host.NewStream(ctx, to.ID, p.Protocol(kind)); err == nil {
						attack(ctx, s, p)
					}
					select {
					case <-ctx.Done():
					case <-time.After(100 * time.Millisecond):
					}
				}
			})
		}
	}
	time.Sleep(time.Second) // they have what they get
	return f()
}

// TestTorture_LongNarrowLink: a block of 4.5 MB reaches followers that are 1 s away each
// way over 1 MB/s, one that hears it by gossip and one that comes later.
func TestTorture_LongNarrowLink(t *testing.T) {
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=2s")
	seq.start()
	far := func(name string) *node {
		p, err := delay.Listen(t.Context(), seq.ip+":7676", delay.Link{RTT: 2 * time.Second, Rate: 1 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { _ = p.Close() })
		_, port, _ := strings.Cut(p.Addr(), ":")
		return w.follower(name, "--p2p.peers=/ip4/127.0.0.1/tcp/"+port+"/p2p/"+seq.id)
	}
	near := far("near-the-tip")
	near.start()
	near.grows(1)
	const size, count = 900_000, 5
	for i := range count {
		tx := append(fmt.Appendf(nil, "large%d=", i), bytes.Repeat([]byte{'a' + byte(i)}, size)...)
		resp, err := http.Post("http://"+seq.rpc()+"/tx", "text/plain", bytes.NewReader(tx))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
	}
	last, value := fmt.Sprintf("large%d", count-1), strings.Repeat(string(rune('a'+count-1)), size)
	seq.reads(last, value)
	began := time.Now()
	near.reads(last, value)
	gossip := time.Since(began)
	late := far("late")
	began = time.Now()
	late.start()
	late.reads(last, value)
	ranges := time.Since(began)
	t.Logf("4.5 MB over 1 s each way and 1 MB/s: %s by gossip, %s by range, the start of the node included", gossip, ranges)
	require.LessOrEqual(t, gossip, promised(30*time.Second))
	require.LessOrEqual(t, ranges, promised(30*time.Second))
}
