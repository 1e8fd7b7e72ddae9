//go:build e2e && linux

package main

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// gateway is another address of the DA node, with a life of its own.
type gateway struct {
	t      *testing.T
	addr   string
	target string

	mu    sync.Mutex
	l     net.Listener
	conns []net.Conn
	wg    sync.WaitGroup
}

func (d *daNode) gateway() *gateway {
	g := &gateway{t: d.w.t, addr: d.w.newIP() + ":26658", target: d.ip + ":26658"}
	g.open()
	d.w.t.Cleanup(g.kill)
	return g
}

func (g *gateway) url() string { return "http://" + g.addr }

// open takes connections until kill.
func (g *gateway) open() {
	g.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(g.t.Context(), "tcp", g.addr)
	require.NoError(g.t, err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.l = l
	g.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := (&net.Dialer{}).Dial("tcp", g.target)
			if err != nil {
				_ = in.Close()
				continue
			}
			g.join(in, out)
		}
	})
}

func (g *gateway) join(in, out net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, in, out)
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		g.wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
		})
	}
}

// kill closes the port and cuts all connections, in the middle of whatever goes
// over them.
func (g *gateway) kill() {
	g.mu.Lock()
	if g.l != nil {
		_ = g.l.Close()
	}
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.l, g.conns = nil, nil
	g.mu.Unlock()
	g.wg.Wait()
}

// readsFrom waits until a node reads from an endpoint and no other.
func (n *node) readsFrom(url string) {
	n.w.t.Helper()
	eventually(n.w.t, patience, func() (bool, string) {
		var used []string
		for _, e := range n.status().DA.Endpoints {
			if e.Reading {
				used = append(used, e.Address)
			}
		}
		return len(used) == 1 && used[0] == url, n.name + " reads from " + strings.Join(used, " and ") + ", want " + url
	})
}

// TestDAEndpointDies: sequencer and followers know two ways to DA. One after the
// other dies and comes back; blocks go on becoming final, for those too who know
// DA alone, and nothing is posted twice.
func TestDAEndpointDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newDA()
	d.start()
	a, b := d.gateway(), d.gateway()
	both := "--da.address=" + a.url() + "," + b.url()
	seq := w.sequencer()
	alone := w.follower("alone", both, noPeers)
	full := w.follower("full", both, seq.viaP2P())
	nodes := []*node{seq, alone, full}
	seq.start(both)
	alone.start()
	full.start()
	alone.finalizes(3)
	const takesOver = "another da endpoint takes over"
	for i, dies := range []*gateway{a, b, a} {
		lives := []*gateway{b, a, b}[i]
		said := len(alone.said(takesOver))
		dies.kill()
		height := seq.grows(8).Heads.Applied
		for _, n := range nodes {
			n.finalizes(height)
			n.readsFrom(lives.url())
		}
		require.Len(t, alone.said(takesOver), said+1, "told once")
		dies.open()
	}
	for _, n := range nodes {
		require.Empty(t, n.status().DA.Error, n.name)
	}
	out := command(t, "status", "--rpc", alone.rpc()).out
	require.Contains(t, out, "da endpoint  "+a.url())
	require.Contains(t, string(alone.get("/metrics")), `tandem_da_endpoint_in_use{endpoint="`+b.url()+`",use="reading"} 1`)
	agree(t, nodes...)
	seq.stop()
	for height, times := range postings(t, d) {
		require.Equal(t, 1, times, "header %d on DA", height)
	}
}

// said returns the lines a node logged with a message.
func (n *node) said(msg string) []string {
	lines, _ := n.printed(0)
	var out []string
	for _, line := range lines {
		if parse(line).text("msg") == msg {
			out = append(out, line)
		}
	}
	return out
}

// postings counts the headers on DA by their height.
func postings(t *testing.T, d *daNode) map[uint64]int {
	t.Helper()
	client, err := da.NewCelestia(d.url, da.Default())
	require.NoError(t, err)
	defer client.Close()
	head, err := client.Head(t.Context())
	require.NoError(t, err)
	times := map[uint64]int{}
	for h := uint64(1); h <= head.Height; h++ {
		blobs, err := client.Blobs(t.Context(), h, da.NamespaceOf(d.w.chain+"-headers"))
		require.NoError(t, err)
		for _, b := range blobs {
			e, err := block.DecodeHeaderEnvelope(b.Data)
			require.NoError(t, err)
			times[e.Header.Height()]++
		}
	}
	require.NotEmpty(t, times)
	return times
}
