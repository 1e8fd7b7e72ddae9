//go:build e2e && linux

package main

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSeparateProcesses: every way to follow a chain ends in the same state.
func TestSeparateProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	peers := w.follower("peers", seq.viaP2P())
	alone := w.follower("alone", da.viaDA(), noPeers)
	light := w.follower("light", "--role=light", seq.viaP2P(), da.viaDA())
	for _, n := range []*node{both, peers, alone, light} {
		n.start()
	}
	seq.send("color", "green")
	for _, n := range []*node{seq, both, peers, alone} {
		n.reads("color", "green")
	}
	agree(t, seq, both, peers, alone)
	for _, n := range []*node{seq, both, alone, light} {
		n.finalizes(5)
	}
	require.Zero(t, peers.final(), "nothing is final without DA")
	require.Zero(t, alone.status().P2P.Peers)
	both.connects()

	// The same headers everywhere, also where nothing is executed.
	h := light.grows(1).Heads.Applied
	want := seq.header(h)
	for _, n := range []*node{both, peers, alone, light} {
		n.applies(h)
		require.Equal(t, want, n.header(h), n.name)
	}
	require.Nil(t, light.get("/kv?key=color"), "a light node executes nothing")

	// A wrong transaction is said to be wrong, and where transactions go nowhere
	// nobody is told that they were taken.
	r := command(t, "tx", "--rpc", light.rpc(), "a=b")
	require.Equal(t, exitFailed, r.code)
	require.Len(t, problemLines(r.err), 1)
	for _, n := range []*node{alone, light, peers, both, seq} {
		t.Logf("%s stopped in %s", n.name, n.stop())
	}
	t.Logf("da stopped in %s", da.terminate(t, syscall.SIGINT))
}

// TestEvolveKV: the chain of ev-node's test application, across processes.
func TestEvolveKV(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	const evolve = "--execution.name=evolve-kv"
	seq := w.sequencer(evolve)
	seq.start()
	both := w.follower("both", evolve, seq.viaP2P(), da.viaDA())
	alone := w.follower("alone", evolve, da.viaDA(), noPeers)
	both.start()
	alone.start()
	for i := range 5 {
		seq.send(fmt.Sprintf("key%d", i), strconv.Itoa(i))
	}
	for _, n := range []*node{seq, both, alone} {
		for i := range 5 {
			n.reads(fmt.Sprintf("key%d", i), strconv.Itoa(i))
		}
	}
	agree(t, seq, both, alone)
	alone.finalizes(3)

	// The executor keeps its state over restarts.
	seq.kill()
	both.kill()
	seq.start()
	both.start()
	seq.send("key9", "late")
	for _, n := range []*node{seq, both, alone} {
		n.reads("key9", "late")
		n.reads("key0", "0")
	}
	agree(t, seq, both, alone)
}
