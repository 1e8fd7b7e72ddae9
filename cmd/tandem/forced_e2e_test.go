//go:build e2e && linux

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestForced: a transaction that was posted to DA alone is on every follower, and
// nobody accuses the sequencer.
func TestForced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	const namespace = "--namespaces.forced=e2e-forced"
	seq := w.sequencer(namespace, "--forced-epoch=3")
	seq.start()
	both := w.follower("both", seq.viaP2P(), da.viaDA(), namespace)
	peers := w.follower("peers", seq.viaP2P(), namespace)
	alone := w.follower("alone", da.viaDA(), noPeers, namespace)
	for _, n := range []*node{both, peers, alone} {
		n.start()
	}
	both.finalizes(3)
	r := command(t, "tx", "--home", alone.home, "--forced", "color=green", "shape=round")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "2 forced at DA height")
	for _, n := range []*node{seq, both, peers, alone} {
		n.reads("color", "green")
		n.reads("shape", "round")
	}
	seq.kill()
	seq.start()
	for _, n := range []*node{both, alone} {
		eventually(t, patience, func() (bool, string) {
			s := n.status().Forced
			return s != nil && s.Waiting == 0 && s.Strikes == 0, n.name + " still waits"
		})
	}
	agree(t, seq, both, peers, alone)

	// Where nothing can be forced one is told so.
	r = command(t, "tx", "--home", w.follower("other", da.viaDA(), noPeers).home, "--forced", "a=b")
	require.Equal(t, exitConfig, r.code)
	require.Contains(t, r.err, "namespaces.forced is empty")
}
