//go:build e2e && linux

package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// storm is how long TestStorm goes on; give it more to look for rare faults.
var storm = flag.Duration("storm", 8*time.Second, "how long the storm lasts")

func pick(n int) int { return rand.N(n) }

// aWhile waits for a random time, to kill at another point every time.
func aWhile(most time.Duration) { <-time.After(rand.N(most)) }

// TestKilledAnywhere: whoever is killed goes on after a restart, and whatever
// was ever seen by anybody, there is one header per height.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=50ms")
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	peers := w.follower("peers", seq.viaP2P())
	seen := newWitness()
	for _, n := range []*node{seq, both, peers} {
		n.start()
		defer seen.watch(n)()
	}
	seq.grows(5)
	for round := range 5 {
		aWhile(500 * time.Millisecond)
		seq.kill()
		if round%2 == 1 { // also while it starts
			seq.launch()
			aWhile(300 * time.Millisecond)
			seq.kill()
		}
		before := both.applied()
		both.kill()
		both.start()
		require.LessOrEqual(t, both.final(), both.applied())
		seq.start()
		height := seq.grows(3).Heads.Applied
		t.Logf("round %d: follower had %d, came back with %d; sequencer is at %d", round, before, both.applied(), height)
		both.applies(height)
		peers.applies(height)
	}
	agree(t, seq, both, peers)
	height := seq.grows(1).Heads.Applied
	both.finalizes(height)
	peers.applies(height)
	for _, n := range []*node{seq, both, peers} {
		seen.readNode(n, height)
	}
	seen.readDA(da)
	t.Logf("one header for each of %d heights", seen.verdict(t))
}

// TestEverythingKilledAtOnce: nobody is left to ask, and the chain goes on.
func TestEverythingKilledAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	alone := w.follower("alone", da.viaDA(), noPeers)
	nodes := []*node{seq, both, alone}
	for _, n := range nodes {
		n.start()
	}
	seq.send("before", "kept")
	alone.reads("before", "kept")
	seen := newWitness()
	for range 2 {
		height := both.grows(2).Heads.Applied
		seen.readNode(both, height)
		final := both.final()
		for _, p := range []*process{da.process, alone.process, seq.process, both.process} {
			require.NoError(t, p.cmd.Process.Kill())
		}
		for _, n := range nodes {
			n.kill()
		}
		da.kill()
		for _, n := range nodes { // all at once, the DA node last
			n.launch()
		}
		da.start()
		for _, n := range nodes {
			n.ready()
		}
		for _, n := range nodes {
			n.applies(height + 2)
		}
		for _, n := range nodes {
			n.finalizes(final + 2)
			n.reads("before", "kept")
		}
	}
	agree(t, nodes...)
	height := seq.applied()
	seq.finalizes(height)
	for _, n := range nodes {
		n.applies(height)
		seen.readNode(n, height)
	}
	seen.readDA(da)
	seen.verdict(t)
}

// TestTransactionsTakenAreKept: what a lazy sequencer took out of its mempool and
// had not put into a block yet when it was killed is in the next one.
func TestTransactionsTakenAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=5s", "--sequencer.lazy", "--sequencer.lazy_interval=1h")
	seq.start()
	seq.applies(1)
	seq.send("taken", "kept")
	eventually(t, patience, func() (bool, string) {
		metrics := string(seq.get("/metrics"))
		return strings.Contains(metrics, `tandem_queued_txs{part="producer"} 1`), "the transaction is not taken"
	})
	require.Equal(t, uint64(1), seq.applied(), "it is in no block yet")
	seq.kill()
	seq.start()
	seq.reads("taken", "kept") // of the executor, which has it before the block counts as applied
	seq.applies(2)
	require.Equal(t, uint64(2), seq.applied())
}

// TestLostDatabase: a sequencer that has its keys and nothing else does not sign
// the chain anew while DA is away; it reads what it has lost, and goes on.
func TestLostDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=50ms", "--sequencer.lazy", "--sequencer.lazy_interval=1h")
	alone := w.follower("alone", da.viaDA(), noPeers)
	seq.start()
	alone.start()
	for i := range 5 {
		seq.send(fmt.Sprintf("k%d", i), "kept")
		seq.applies(uint64(i + 2))
	}
	height := seq.applied()
	alone.finalizes(height)
	seen := newWitness()
	seen.readNode(alone, height)
	seq.kill()
	require.NoError(t, os.RemoveAll(filepath.Join(seq.home, "data")))

	da.control(`{"outage":"hang"}`)
	seq.start("--sequencer.ask_peers=1s")
	eventually(t, patience, func() (bool, string) {
		s := seq.status()
		return strings.HasPrefix(s.WaitingFor, "DA to be read"), fmt.Sprintf("waits for %q", s.WaitingFor)
	})
	require.Zero(t, seq.applied())
	r := command(t, "status", "--rpc", seq.rpc())
	require.Contains(t, r.out, "DA to be read, where the chain may have blocks already")
	da.control(`{"outage":"none"}`)
	seq.applies(height)
	seq.reads("k4", "kept")
	seq.send("more", "new")
	alone.reads("more", "new")
	height = seq.applied()
	alone.finalizes(height)
	for _, n := range []*node{seq, alone} {
		seen.readNode(n, height)
	}
	seen.readDA(da)
	t.Logf("one header for each of %d heights", seen.verdict(t))
	agree(t, seq, alone)
}

// chainOf opens the store of a node that does not run.
func chainOf(n *node) (store *chainstore.Store, closed func()) {
	t := n.w.t
	t.Helper()
	cfg := leveldb.Default()
	cfg.Path = filepath.Join(n.home, cfg.Path)
	db := leveldb.New(cfg)
	require.NoError(t, db.Open())
	store = chainstore.New(db, chainstore.Default(), zap.NewNop())
	require.NoError(t, store.Open(t.Context()))
	return store, func() { require.NoError(t, db.Close()) }
}

// TestStoresAheadOfTheApplied: a follower that was killed between storing and
// applying finds its blocks by itself when it starts: no event tells it of them,
// for sequencer and DA are silent.
func TestStoresAheadOfTheApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=50ms")
	seq.start()
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	both.start()
	had := both.applies(5).Heads.Applied
	both.kill()
	seq.send("late", "news")
	seq.grows(100)
	t.Logf("sequencer stopped in %s, da in %s", seq.stop(), da.terminate(t, os.Interrupt))

	from, closeFrom := chainOf(seq)
	to, closeTo := chainOf(both)
	head := from.Headers().Height()
	first := to.Headers().Height() + 1
	require.GreaterOrEqual(t, first, had+1)
	require.Greater(t, head, first+50)
	copyBlocks(t, from, to, first)
	require.Equal(t, head, to.Headers().Height())
	state, err := to.State(t.Context())
	require.NoError(t, err)
	require.Less(t, state.LastHeight, first)
	want, err := from.StateAt(t.Context(), head)
	require.NoError(t, err)
	closeFrom()
	closeTo()

	both.launch()
	both.ready()
	up := time.Now()
	s := both.applies(head)
	require.Equal(t, head, s.Heads.Applied)
	require.Equal(t, hex.EncodeToString(want.AppHash), s.Applied.StateRoot)
	took := s.Applied.At.Sub(up)
	t.Logf("%d stored blocks applied %s after the API was up, %s after the process began",
		head-state.LastHeight, took, s.Applied.At.Sub(both.started))
	require.Less(t, took, promised(time.Second))
	both.reads("late", "news")
}

// copyBlocks appends what one store has from a height on to another.
func copyBlocks(t *testing.T, from, to *chainstore.Store, first uint64) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	for end := from.Headers().Height() + 1; first < end; {
		headers, err := from.Headers().GetRange(ctx, first, end)
		require.NoError(t, err)
		require.NotEmpty(t, headers)
		next := first + uint64(len(headers))
		for at := first; at < next; {
			data, err := from.Data().GetRange(ctx, at, next)
			require.NoError(t, err)
			require.NotEmpty(t, data)
			require.NoError(t, to.Data().Append(ctx, data...))
			at += uint64(len(data))
		}
		require.NoError(t, to.Headers().Append(ctx, headers...))
		first = next
	}
}
