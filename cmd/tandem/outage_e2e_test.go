//go:build e2e && linux

package main

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
)

// TestDAOutage: while DA is away the chain goes on over P2P and nothing becomes
// final; afterwards final catches up, and so does who knows DA alone.
func TestDAOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	alone := w.follower("alone", da.viaDA(), noPeers)
	both.start()
	alone.start()
	both.finalizes(3)
	alone.finalizes(3)
	for _, kind := range []string{"refuse", "hang", "drop"} {
		warned := both.warned(daFails)
		da.control(fmt.Sprintf(`{"outage":%q,"outage_for":"1h"}`, kind))
		// What is made from now on cannot get to DA. What was posted before may
		// still become final: somebody may be busy with it.
		made := seq.grows(0).Heads.Applied
		var down rpc.Status
		eventually(t, patience, func() (bool, string) {
			down = both.status()
			require.LessOrEqual(t, down.Heads.Final, made, "final moved while DA was away: %s", brief(down))
			return down.Heads.Applied >= made+5, "the chain stands still: " + brief(down)
		})
		t.Logf("%s: during the outage follower has %s", kind, brief(down))
		ended := time.Now()
		if kind == "refuse" { // the port is closed, for who would end it too
			da.kill()
			da.start()
		} else {
			da.control(`{"outage":"none"}`)
		}
		both.finalizes(down.Heads.Applied)
		alone.applies(down.Heads.Applied)
		t.Logf("%s: %d blocks became final %s after the outage", kind, down.Heads.Applied-down.Heads.Final, time.Since(ended))
		require.LessOrEqual(t, both.warned(daFails), warned+1, "one line per outage")
	}
	agree(t, seq, both, alone)
}

// daFails is what a node warns of while it cannot read DA.
const daFails = "reading from da fails; retrying"

// TestP2PCut: without its peers a follower goes on by DA, and with them again
// it is as quick as before.
func TestP2PCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	both.start()
	both.applies(3)
	both.connects() // DA may be quicker than the first dial

	seq.stop()
	seq.start(noPeers) // the peer is gone, the chain goes on
	height := seq.grows(3).Heads.Applied
	both.applies(height)
	both.isAlone()
	both.finalizes(height)
	agree(t, seq, both)

	both.stop()
	both.start(noPeers) // and cut on this side
	both.applies(seq.grows(3).Heads.Applied)
	both.stop()
	both.start()

	seq.stop()
	seq.start()
	both.connects() // it is dialled again
	both.applies(seq.grows(3).Heads.Applied)
}

// silent is a listener that takes connections and says nothing, ever.
func silent(t *testing.T, address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	var open []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, c := range open {
			_ = c.Close()
		}
	})
}

// TestOneSourceIsDead: a source that is dead delays neither the start nor what
// the other source brings.
func TestOneSourceIsDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	seq.finalizes(5)
	mute, refused := w.newIP(), w.newIP()
	silent(t, mute+":7676")
	silent(t, mute+":26658")
	stranger := field(t, command(t, "keys", "show", "--home", w.follower("stranger", da.viaDA()).home).out, "node id")
	for name, flags := range map[string][]string{
		"peer refuses, DA lives":   {"--p2p.peers=/ip4/" + refused + "/tcp/7676/p2p/" + stranger, da.viaDA()},
		"peer is silent, DA lives": {"--p2p.peers=/ip4/" + mute + "/tcp/7676/p2p/" + stranger, da.viaDA()},
		"DA refuses, peer lives":   {seq.viaP2P(), "--da.address=http://" + refused + ":26658"},
		"DA is silent, peer lives": {seq.viaP2P(), "--da.address=http://" + mute + ":26658"},
	} {
		// A busy machine may take its time once; a node that waits for the dead
		// one is late every time.
		var first, up time.Duration
		for try := range 3 {
			n := w.follower(fmt.Sprintf("%s %d", name, try), flags...)
			n.start()
			up = time.Since(n.started)
			n.applies(1)
			first = time.Since(n.started) - up
			height := seq.applied()
			n.applies(height)
			t.Logf("%s: API up after %s, first block %s later, all %d blocks %s later", name, up, first, height, time.Since(n.started)-up)
			n.stop()
			if first < promised(time.Second) && up < promised(time.Second) {
				break
			}
		}
		require.Less(t, up, promised(time.Second), name)
		require.Less(t, first, promised(time.Second), name)
	}
}

// TestSourceComesLate: both sources are dead when the node starts; from the
// first answer of the one that comes to life it takes less than a second.
func TestSourceComesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	seq.finalizes(5)
	seq.stop()
	da.kill()
	tests := []struct {
		name    string
		wake    func()
		answers func(rpc.Status) bool
		sleep   func()
	}{
		{"da", func() { da.start() }, func(s rpc.Status) bool { return !s.DA.LastOK.IsZero() }, func() { da.kill() }},
		{"peer", func() { seq.start() }, func(s rpc.Status) bool { return s.P2P.Peers > 0 }, func() { seq.kill() }},
	}
	for _, tt := range tests {
		var took time.Duration
		for try := range 3 {
			n := w.follower(fmt.Sprintf("%s%d", tt.name, try), seq.viaP2P(), da.viaDA())
			n.start()
			meanwhile(t, 2*time.Second, func() {})
			require.Zero(t, n.applied())
			tt.wake()
			alive := time.Now()
			eventually(t, patience, func() (bool, string) {
				s := n.status()
				return tt.answers(s) || s.Heads.Applied > 0, tt.name + " answers: " + brief(s)
			})
			heard := time.Now()
			n.applies(1)
			took = time.Since(heard)
			t.Logf("%s: the node heard of it %s after it was up, first block %s after that", tt.name, heard.Sub(alive), took)
			n.stop()
			tt.sleep()
			if took < promised(time.Second) {
				break
			}
		}
		require.Less(t, took, promised(time.Second), tt.name)
	}
}

// TestIdle: on a chain that makes no blocks a follower sleeps.
func TestIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start("--block-time", "1s")
	seq := w.sequencer("--sequencer.lazy", "--sequencer.lazy_interval", "10m")
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	seq.start()
	both.start()
	seq.send("first", "block")
	both.reads("first", "block")
	both.finalizes(1)
	height := both.applied()
	const during = 10 * time.Second
	for _, n := range []*node{both, seq} {
		meanwhile(t, time.Second, func() {}) // settle
		before := usageOf(t, n.process)
		<-time.After(during)
		after := usageOf(t, n.process)
		switches := float64(after.switches-before.switches) / during.Seconds()
		cpu := float64(after.cpu-before.cpu) / float64(during)
		t.Logf("idle %s: %.0f voluntary context switches a second, %.2f %% of a CPU, %d threads", n.name, switches, 100*cpu, after.threads)
		require.Less(t, switches, 300.0, n.name)
		require.Less(t, cpu, 0.05, n.name)
	}
	require.Equal(t, height, both.applied(), "the chain was to be idle")
	seq.send("second", "block") // and wakes up at once
	both.reads("second", "block")
}
