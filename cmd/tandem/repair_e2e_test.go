//go:build e2e && linux

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// garble empties the file that names the newest manifest of a database.
func garble(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "CURRENT"), nil, 0o600))
}

// TestRepairAdvice follows what a follower and a sequencer say when their files are
// damaged, from the error to a node that goes on.
func TestRepairAdvice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newDA()
	d.start()
	seq := w.sequencer("--sequencer.ask_peers=3s", "--execution.keep_versions=8", "--execution.keep_unfinal=8")
	full := w.follower("full", seq.viaP2P(), d.viaDA(), "--execution.keep_versions=8", "--execution.keep_unfinal=8")
	static := "--p2p.peers=/ip4/" + full.ip + "/tcp/7676/p2p/" + full.id
	seq.start(static)
	full.start()
	for i := range 30 { // more versions than the executor keeps
		seq.send("k"+strconv.Itoa(i), "v")
		full.applies(seq.grows(1).Heads.Applied)
	}
	full.finalizes(5)

	r := command(t, "repair", "--home", full.home)
	require.Equal(t, exitStart, r.code, r.err)
	require.Contains(t, r.err, "a node runs on this home, stop it first")

	for _, dir := range []string{"chain.db", "execution"} {
		full.stop()
		garble(t, filepath.Join(full.home, "data", dir))
		full.launch()
		require.Equal(t, exitStart, full.wait(t, patience))
		full.await(t, "is damaged", "'tandem repair'")
		r = command(t, "repair", "--home", full.home)
		require.Equal(t, exitFailed, r.code, r.err)
		require.Contains(t, r.out, "--apply would: remove "+filepath.Join(full.home, "data", dir))
		require.Contains(t, r.err, "1 problem, of which 'tandem repair --apply' fixes 1")
		r = command(t, "repair", "--home", full.home, "--apply")
		require.Equal(t, exitOK, r.code, r.err)
		full.start()
		full.applies(seq.applied())
		agree(t, seq, full)
	}

	full.stop()
	r = command(t, "rollback", "--home", full.home, "--to", "3")
	require.Equal(t, exitFailed, r.code, r.err)
	require.Contains(t, r.err, "--force goes below it")
	r = command(t, "rollback", "--home", full.home, "--to", "3", "--force")
	require.Equal(t, exitOK, r.code, r.err)
	full.start()
	full.applies(seq.applied())
	agree(t, seq, full)

	// What the sequencer has and DA has not is removed on demand only; here a peer has it.
	d.kill()
	full.applies(seq.grows(5).Heads.Applied)
	seq.stop()
	garble(t, filepath.Join(seq.home, "data", "chain.db"))
	seq.launch(static)
	require.Equal(t, exitStart, seq.wait(t, patience))
	r = command(t, "repair", "--home", seq.home, "--apply")
	require.Equal(t, exitFailed, r.code, r.err)
	require.Contains(t, r.err, "which this key has signed; how many of them are not final cannot be read")
	require.Contains(t, r.err, "--discard-unposted")
	state, err := os.ReadFile(filepath.Join(seq.home, "signer.state"))
	require.NoError(t, err)
	r = command(t, "repair", "--home", seq.home, "--apply", "--discard-unposted")
	require.Equal(t, exitOK, r.code, r.err)
	same, err := os.ReadFile(filepath.Join(seq.home, "signer.state"))
	require.NoError(t, err)
	require.Equal(t, state, same)
	seq.start(static)
	seq.grows(1)
	full.applies(seq.grows(3).Heads.Applied)
	agree(t, seq, full)
}
