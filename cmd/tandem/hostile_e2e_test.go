//go:build e2e && linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
)

// attacker returns the hostile program, built for this run.
var attacker = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tandem-hostile")
	if err != nil {
		return "", err
	}
	atExit = append(atExit, func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "hostile")
	if out, err := exec.Command("go", "build", "-o", path, "../../testutil/hostile/program").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// attack starts the hostile program against this chain, and returns once it has
// done its worst for the first time.
func (w *world) attack(kind string, flags ...string) *process {
	w.t.Helper()
	path, err := attacker()
	require.NoError(w.t, err)
	p := launchCommand(w.t, "hostile-"+kind, exec.Command(path, append([]string{kind, "-genesis", w.genesis()}, flags...)...))
	w.procs = append(w.procs, p)
	p.await(w.t, ", round ")
	return p
}

func (w *world) genesis() string { return filepath.Join(w.dir, "sequencer", "config", "genesis.json") }

func (n *node) p2pAddress() string { return strings.TrimPrefix(n.viaP2P(), "--p2p.peers=") }

// rounds waits until the attacker has gone on for a number of rounds.
func (p *process) rounds(t *testing.T, n int) {
	t.Helper()
	from := len(p.linesNow())
	eventually(t, patience, func() (bool, string) {
		return len(p.linesNow()) >= from+n, p.name + " does not go on: " + p.tail(3)
	})
}

func (p *process) linesNow() []string {
	lines, _ := p.printed(0)
	return lines
}

// TestT4_ForgedHeads: a peer sends heads at height 1,000,000 and other forgeries,
// and lies when it is asked for ranges. The chain is followed as if it were not there.
func TestT4_ForgedHeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	follower := w.follower("follower", seq.viaP2P()) // P2P alone: nothing else would help
	follower.start()
	follower.applies(3)
	p := w.attack("peer", "-listen", "/ip4/"+w.newIP()+"/tcp/0", "-nodes", follower.p2pAddress()+","+seq.p2pAddress())
	begin := follower.applied()
	for range 10 {
		p.rounds(t, 3)
		s := follower.status()
		require.Less(t, s.P2P.Target, uint64(100_000), "a forged head became the target: %s", brief(s))
		// Near the head all the time: what is a pause on a busy machine only the
		// sequencer can tell.
		head := seq.applied()
		follower.applies(head)
	}
	follower.applies(begin + 5)
	seq.send("color", "green")
	follower.reads("color", "green")
	agree(t, seq, follower)
	h := follower.grows(1).Heads.Applied
	require.Equal(t, seq.header(h), follower.header(h))
}

// TestT5_SquattedData: somebody posts data for heights to come, the transactions of
// blocks under a key of its own, and forged headers. All blocks form and become final.
func TestT5_SquattedData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	alone := w.follower("alone", da.viaDA(), noPeers)
	alone.start()
	alone.applies(2)
	p := w.attack("poster", "-da", da.url, "-every", daTime.String())
	for i := range 5 {
		value := fmt.Sprint("v", i)
		seq.send("color", value)
		alone.reads("color", value)
		p.rounds(t, 1)
	}
	head := seq.applied()
	alone.finalizes(head)
	agree(t, seq, alone)
	require.Nil(t, alone.status().Conflicts)
}

// TestT1_TwoStories: the proposer's key signs one chain for peers and another for DA.
// A follower of both keeps the proof and ends like one that reads DA alone.
func TestT1_TwoStories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mayFail = []string{"the proposer signed two headers for one height", "worker failed, the node stops"}
	elsewhere := w.newDA() // nobody else looks there
	elsewhere.start("--home", filepath.Join(w.dir, "elsewhere"))
	peers := w.sequencer()
	da := w.newDA()
	da.start()
	peers.start()
	both := w.follower("both", peers.viaP2P(), da.viaDA())
	both.start()
	peers.send("story", "peers")
	both.reads("story", "peers")
	both.applies(10)

	other := w.init("other", "sequencer",
		"--genesis", w.genesis(), da.viaDA(), noPeers, "--signer.passphrase_file", filepath.Join(w.dir, "passphrase"),
		"--signer.key_file", filepath.Join(peers.home, "config", "signer.json"),
		"--sequencer.block_time", blockTime.String(), "--sequencer.submit.da_block_time", daTime.String(),
		"--da_worker.poll_interval", daTime.String())
	other.start()
	honest := w.follower("honest", da.viaDA(), noPeers)
	honest.start()
	other.send("story", "da")
	honest.reads("story", "da")
	both.reads("story", "da")
	agree(t, honest, both, other)
	head := honest.grows(1).Heads.Applied
	both.finalizes(head)
	require.Equal(t, honest.header(head), both.header(head))
	w.provesTwoStories(both)
}

// provesTwoStories: the proof can be listed, taken away and checked by anybody who
// has the genesis file, also after a restart, and with the node stopped.
func (w *world) provesTwoStories(n *node) {
	w.t.Helper()
	s := n.status()
	require.NotNil(w.t, s.Conflicts)
	require.NotZero(w.t, s.Conflicts.Count)
	require.NotZero(w.t, s.Conflicts.Reverts)
	require.Contains(w.t, string(n.get("/metrics")), "conflict")
	n.stop()
	list := command(w.t, "evidence", "list", "--home", n.home)
	require.Equal(w.t, exitOK, list.code, list.err)
	require.GreaterOrEqual(w.t, strings.Count(list.out, "DA "), 1, list.out)
	export := command(w.t, "evidence", "export", "--home", n.home)
	require.Equal(w.t, exitOK, export.code, export.err)
	file := filepath.Join(w.t.TempDir(), "evidence.json")
	require.NoError(w.t, os.WriteFile(file, []byte(export.out), 0o600))
	verify := command(w.t, "evidence", "verify", file, "--genesis", w.genesis())
	require.Equal(w.t, exitOK, verify.code, verify.err)
	g, err := block.LoadGenesis(w.genesis())
	require.NoError(w.t, err)
	require.Contains(w.t, verify.out, fmt.Sprintf("proposer %X signed both", g.ProposerAddress))
	begin := time.Now()
	n.start()
	require.NotNil(w.t, n.status().Conflicts, "evidence survives a restart")
	n.grows(2)
	w.t.Logf("back after %s", time.Since(begin))
}
