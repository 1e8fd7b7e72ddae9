//go:build e2e && linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLargeTransactions: blocks of several MiB reach followers on every way.
func TestLargeTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	peers := w.follower("peers", seq.viaP2P())
	alone := w.follower("alone", da.viaDA(), noPeers)
	nodes := []*node{seq, peers, alone}
	for _, n := range nodes {
		n.start()
	}
	const size, count = 1000_000, 12
	post := func(body []byte) int {
		resp, err := http.Post("http://"+seq.rpc()+"/tx", "text/plain", bytes.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	for i := range count {
		tx := append(fmt.Appendf(nil, "large%d=", i), bytes.Repeat([]byte{'a' + byte(i)}, size)...)
		require.Equal(t, http.StatusAccepted, post(tx))
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, post(make([]byte, 4_500_001)))
	for _, n := range nodes {
		for i := range count {
			n.reads(fmt.Sprintf("large%d", i), strings.Repeat(string(rune('a'+i)), size))
		}
	}
	agree(t, nodes...)
	seq.finalizes(seq.applied())
}

// TestPauseWithoutDA: production stops at the configured number of blocks that
// wait for DA, says why, and goes on when DA takes them.
func TestPauseWithoutDA(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	const most = 6
	seq := w.sequencer(fmt.Sprintf("--sequencer.max_pending=%d", most))
	seq.start()
	seq.finalizes(3)
	da.control(`{"outage":"hang"}`)
	eventually(t, patience, func() (bool, string) {
		s := seq.status()
		return s.Sequencer != nil && s.Sequencer.Paused, "the sequencer pauses: " + brief(s)
	})
	s := seq.status()
	require.LessOrEqual(t, s.Heads.Applied, s.Sequencer.SubmittedHeader+most+1)
	require.Contains(t, s.WaitingFor, "DA")
	require.Nil(t, seq.get("/health/ready"), "it is not ready, and says so")
	meanwhile(t, 4*blockTime, func() {})
	require.Equal(t, s.Heads.Applied, seq.applied())
	r := command(t, "status", "--rpc", seq.rpc())
	require.Regexp(t, `(?m)^waiting for .*DA`, r.out)
	da.control(`{"outage":"none"}`)
	seq.applies(s.Heads.Applied + most)
	seq.finalizes(s.Heads.Applied)
}

// TestStopsWithRudeClients: clients that hold connections do not hold up a stop.
func TestStopsWithRudeClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	seq.grows(1)
	dial := func(address, say string) net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://"))
		require.NoError(t, err)
		_, err = c.Write([]byte(say))
		require.NoError(t, err)
		return c
	}
	const unfinished = "POST /tx HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
	for _, address := range []string{seq.rpc(), da.url} {
		defer dial(address, "").Close()
		defer dial(address, "GET /status HTT").Close()
		defer dial(address, unfinished).Close()
	}
	// One that has been served, and keeps its connection.
	kept := dial(seq.rpc(), "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
	defer kept.Close()
	line, err := bufio.NewReader(kept).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "200 OK")
	t.Logf("sequencer stopped in %s", seq.stop())
	t.Logf("da stopped in %s", da.terminate(t, syscall.SIGTERM))
}

// TestLightNodes: each source is enough for the headers, and final needs DA.
func TestLightNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	seq := w.sequencer("--da-start-height=1")
	const light = "--role=light"
	peers := w.follower("peers", light, seq.viaP2P())
	alone := w.follower("alone", light, da.viaDA(), noPeers)
	peers.start() // before there is a chain
	alone.start()
	da.start()
	seq.start()
	height := seq.grows(5).Heads.Applied
	for _, n := range []*node{peers, alone} {
		n.applies(height)
		for h := uint64(1); h <= height; h++ {
			require.Equal(t, seq.header(h), n.header(h), n.name)
		}
		n.kill()
		n.start()
	}
	seq.send("a", "b") // data they do not have changes nothing for them
	alone.finalizes(seq.grows(3).Heads.Applied)
	require.Zero(t, peers.final())
}

// TestStorm: everything at once for a while, and one chain in the end.
func TestStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=50ms")
	seq.start()
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	peers := w.follower("peers", both.viaP2P()) // two hops from the sequencer
	alone := w.follower("alone", da.viaDA(), noPeers)
	nodes := []*node{seq, both, peers, alone}
	seen := newWitness()
	for _, n := range nodes[1:] {
		n.start()
		defer seen.watch(n)()
	}
	restart := func(n *node) func() {
		return func() {
			n.kill()
			aWhile(300 * time.Millisecond)
			n.start()
		}
	}
	outage := func(kind string) func() {
		return func() { da.control(fmt.Sprintf(`{"outage":%q,"outage_for":"700ms"}`, kind)) }
	}
	actions := []struct {
		name string
		do   func()
	}{
		{"kill sequencer", restart(seq)},
		{"kill both", restart(both)},
		{"kill peers", restart(peers)},
		{"kill alone", restart(alone)},
		{"stop sequencer", func() { seq.stop(); seq.start() }},
		{"kill da", func() { da.kill(); aWhile(time.Second); da.start() }},
		{"da refuses", outage("refuse")},
		{"da hangs", outage("hang")},
		{"da drops", outage("drop")},
		{"half of the submissions fail", func() { da.control(`{"clear_failures":true,"fail":{"method":"blob.Submit","rate":0.5}}`) }},
		{"submissions are well", func() { da.control(`{"clear_failures":true}`) }},
	}
	sent := 0
	for over := time.After(*storm); ; {
		a := actions[pick(len(actions))]
		t.Logf("%s at %d", a.name, both.applied())
		a.do()
		aWhile(500 * time.Millisecond)
		seq.send(fmt.Sprintf("storm%d", sent), "over")
		sent++
		select {
		case <-over:
		default:
			continue
		}
		break
	}
	da.control(`{"clear_failures":true,"outage":"none"}`)
	seq.send("calm", "again")
	for _, n := range nodes {
		n.reads("calm", "again")
	}
	agree(t, nodes...)
	height := seq.applied()
	for _, n := range []*node{seq, both, alone} {
		n.finalizes(height)
	}
	for _, n := range nodes {
		n.applies(height)
		seen.readNode(n, height)
	}
	seen.readDA(da)
	t.Logf("one header for each of %d heights", seen.verdict(t))
}
