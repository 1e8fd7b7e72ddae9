//go:build e2e && linux

package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var restores = flag.Int("restores", 4, "how many old copies of a sequencer's home are started")

// reach is who answers a sequencer that starts on an old copy of its home.
type reach struct{ da, peer bool }

// TestOldCopiesOfHomes starts a sequencer on old copies of its home, made while it
// ran, with DA, a peer, both or neither reachable. No height is ever signed twice, and
// the chain goes on by itself as soon as one of them is there.
func TestOldCopiesOfHomes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newDA()
	d.start()
	link := d.gateway()
	seq := w.sequencer("--sequencer.ask_peers=3s", "--sequencer.block_time=100ms")
	full := w.follower("full", seq.viaP2P(), d.viaDA())
	viaLink := "--da.address=" + link.url()
	static := "--p2p.peers=/ip4/" + full.ip + "/tcp/7676/p2p/" + full.id
	seq.start(static, viaLink)
	full.start()
	seen := newWitness()
	var copies []string
	for i := range *restores {
		who := []reach{{true, true}, {true, false}, {false, true}, {false, false}}[i%4]
		seq.grows(uint64(5 + rand.N(20)))
		to := filepath.Join(w.dir, fmt.Sprint("copy-", len(copies)))
		require.NoError(t, os.CopyFS(to, os.DirFS(seq.home))) // while it runs, as backups are made
		copies = append(copies, to)
		full.applies(seq.grows(uint64(1 + rand.N(30))).Heads.Applied)
		if !who.peer {
			// What this peer alone has nobody could find without it.
			full.stop()
			seq.finalizes(seq.applied())
		}
		height := seq.final()
		seq.kill()
		if who.peer {
			height = full.applied()
			seen.readNode(full, height)
		}
		from := copies[rand.N(len(copies))]
		t.Logf("restore %d of one of %d copies at height %d, DA %v, peer %v", i, len(copies), height, who.da, who.peer)
		require.NoError(t, os.RemoveAll(seq.home))
		require.NoError(t, os.CopyFS(seq.home, os.DirFS(from)))
		if !who.da {
			link.kill()
		}
		seq.start(static, viaLink)
		if !who.da && !who.peer {
			meanwhile(t, 6*time.Second, func() {
				if s := seq.status(); s.Sequencer != nil {
					require.Zero(t, s.Sequencer.Produced)
				}
			})
			require.Contains(t, fmt.Sprint(seq.status().Problems), "not an old copy")
			link.open() // one of them is back
		}
		seq.applies(height + 3)
		if !who.da && who.peer {
			link.open()
		}
		if !who.peer {
			full.start()
		}
		full.applies(height + 3)
		full.finalizes(height + 3)
	}
	seen.readNode(full, full.applied())
	seen.readDA(d)
	t.Logf("one header for each of %d heights", seen.verdict(t))
}
