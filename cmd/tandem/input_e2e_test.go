//go:build e2e && linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refuses runs a command that must end by itself with a code and one line.
func (w *world) refuses(code int, want string, args ...string) {
	w.t.Helper()
	p := w.launch(want, args...)
	require.Equal(w.t, code, p.wait(w.t, patience), p.tail(20))
	lines, _ := p.printed(0)
	found := problemLines(strings.Join(lines, "\n") + "\n")
	require.Len(w.t, found, 1, p.tail(20))
	require.Contains(w.t, found[0], want)
	for _, line := range lines {
		require.NotContains(w.t, line, `"level":"error"`, "it is said once")
	}
}

// TestWrongInput: what a person got wrong is one clear line and a code.
func TestWrongInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	full := w.follower("full", seq.viaP2P(), da.viaDA())
	full.start()
	full.applies(3)
	startFull := func(flags ...string) []string { return append([]string{"start", "--home", full.home}, flags...) }

	// While another process runs on the home.
	elsewhere := []string{"--p2p.listen_addresses=/ip4/" + full.ip + "/tcp/0"}
	w.refuses(exitStart, "already in use by another process", startFull(elsewhere...)...)
	w.refuses(exitStart, "/ip4/"+seq.ip+"/tcp/7676", startFull("--p2p.listen_addresses=/ip4/"+seq.ip+"/tcp/7676")...)
	full.grows(1) // and the one that runs does not mind
	full.stop()
	w.refuses(exitStart, "rpc.address: "+seq.rpc()+" is already in use by another process", startFull("--rpc.address="+seq.rpc())...)
	w.refuses(exitStart, "26658", "da", "--home", t.TempDir(), "--listen", da.ip+":26658")
	w.refuses(exitStart, "in use by another process", "da", "--home", w.dir, "--listen", da.ip+":0")

	// Another chain.
	other := newWorld(t)
	other.da = da
	stranger := other.sequencer("--chain-id", w.chain)
	w.refuses(exitStart, "genesis", startFull("--genesis_file", filepath.Join(stranger.home, "config", "genesis.json"))...)
	w.refuses(exitStart, "genesis", "start", "--home", stranger.home, "--db.path", filepath.Join(full.home, "data", "chain.db"))

	// Keys and config.
	wrong := passphraseFile(t, "wrong")
	w.refuses(exitConfig, "wrong passphrase", "start", "--home", seq.home, "--signer.passphrase_file", wrong)
	w.refuses(exitConfig, "no genesis file at", "start", "--home", t.TempDir())
	config := filepath.Join(full.home, "config", "tandem.yaml")
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	for want, changed := range map[string]string{
		`unknown key "syncer.retries"`: string(text) + "\nsyncer:\n  retries: 5\n",
		"config/tandem.yaml: ":         strings.Replace(string(text), "role:", "role: {", 1),
		"tandem.yaml: yaml: control":   "\x00\x01\x02",
		`rpc.address is "nonsense"`:    strings.Replace(string(text), `address: "`+full.ip+`:0"`, "address: nonsense", 1),
	} {
		require.NotEqual(t, string(text), changed, want)
		require.NoError(t, os.WriteFile(config, []byte(changed), 0o600))
		w.refuses(exitConfig, want, startFull()...)
	}
	require.NoError(t, os.WriteFile(config, text, 0o600))
	full.start() // nothing of that has done any harm
	full.grows(1)
}

// TestWrongGenesis: a new home cannot know that its genesis file is of another
// chain of that name, but whoever asks is told what it looks like.
func TestWrongGenesis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	other := newWorld(t)
	other.da, other.chain = da, w.chain
	other.sequencer()
	for name, flags := range map[string][]string{"peers": {seq.viaP2P()}, "alone": {da.viaDA(), noPeers}} {
		n := other.follower(name, flags...)
		n.start()
		eventually(t, patience, func() (bool, string) {
			r := command(t, "status", "--rpc", n.rpc())
			return strings.Contains(r.out, "is the genesis file that of the chain?"), r.out + r.err
		})
		require.Zero(t, n.applied())
	}
}

// TestDamagedDatabase: a damaged database is named, never quietly repaired.
func TestDamagedDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	seq.grows(5)
	seq.stop()
	db := filepath.Join(seq.home, "data", "chain.db")
	damaged := 0
	for _, pattern := range []string{"CURRENT", "MANIFEST-*", "*.ldb"} {
		paths, err := filepath.Glob(filepath.Join(db, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, paths, pattern)
		for _, path := range paths[:1] {
			sound, err := os.ReadFile(path)
			require.NoError(t, err)
			broken := make([]byte, len(sound))
			for i, b := range sound {
				broken[i] = b ^ 0x5a
			}
			require.NoError(t, os.WriteFile(path, broken, 0o600))
			w.refuses(exitStart, db, "start", "--home", seq.home)
			require.NoError(t, os.WriteFile(path, sound, 0o600))
			damaged++
		}
	}
	require.Equal(t, 3, damaged)
	seq.start()
	seq.grows(1)
}

// TestDAIsUnreachable: it may come back, so the node runs on, says so once, and
// tells who asks.
func TestDAIsUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()                                                          // never started
	seq := w.sequencer("--da-start-height=1", "--sequencer.begin_unchecked") // of a chain that is known to be new
	seq.start()
	both := w.follower("both", seq.viaP2P(), da.viaDA())
	both.start()
	both.await(t, `"level":"warn"`, "da")
	both.applies(5)
	for _, n := range []*node{seq, both} {
		r := command(t, "status", "--rpc", n.rpc())
		require.Equal(t, exitOK, r.code, r.err)
		require.Regexp(t, `(?m)^da .*last error: .*connection refused`, r.out)
		require.Regexp(t, `(?m)^final +0$`, r.out)
	}
	meanwhile(t, 3*time.Second, func() {})
	require.Equal(t, 1, both.warned(daFails), "said once")
	require.LessOrEqual(t, seq.warned(daFails), 1)
	const perLane = 1 // of headers and of data
	require.LessOrEqual(t, seq.warned("nothing can be posted to the DA layer, trying again"), 2*perLane, "said once")
	da.start()
	both.finalizes(5)
}

// TestStops: every role ends within two seconds, whatever it is doing.
func TestStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	da := w.newDA()
	da.start()
	seq := w.sequencer("--sequencer.block_time=20ms")
	seq.start()
	mute := w.newIP()
	silent(t, mute+":7676")
	silent(t, mute+":26658")
	dead := []string{"--p2p.peers=/ip4/" + mute + "/tcp/7676/p2p/" + seq.id, "--da.address=http://" + mute + ":26658"}
	full := w.follower("full", seq.viaP2P(), da.viaDA())
	light := w.follower("light", "--role=light", seq.viaP2P(), da.viaDA())
	stuck := w.follower("stuck", dead...)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, n := range []*node{full, light, stuck} {
			n.start()
		}
		full.applies(seq.grows(20).Heads.Applied)
		t.Logf("full, in step:            %s", full.terminate(t, signal))
		full.launch()
		full.ready()
		t.Logf("full, catching up:        %s", full.terminate(t, signal))
		full.launch()
		full.await(t, `"msg":"starting"`)
		t.Logf("full, while it starts:    %s", full.terminate(t, signal))
		t.Logf("light, in step:           %s", light.terminate(t, signal))
		t.Logf("full, all sources silent: %s", stuck.terminate(t, signal))
		da.control(`{"outage":"hang"}`)
		seq.grows(50) // with submissions on their way
		t.Logf("sequencer, DA hangs:      %s", seq.terminate(t, signal))
		t.Logf("da, calls hang:           %s", da.terminate(t, signal))
		da.start()
		seq.start()
		seq.grows(1)
		t.Logf("sequencer, all well:      %s", seq.terminate(t, signal))
		seq.start()
	}
}
