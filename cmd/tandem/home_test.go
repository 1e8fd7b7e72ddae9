package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
)

// files returns path → content of everything below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		found[name] = string(content)
		return err
	}))
	return found
}

func TestInitSequencer(t *testing.T) {
	home := newSequencer(t, "--sequencer.block_time", "250ms", "--sequencer.lazy", "--da-start-height", "7")
	made := files(t, home)
	require.Len(t, made, 5)
	for name := range made {
		info, err := os.Stat(filepath.Join(home, name))
		require.NoError(t, err)
		if name != "config/genesis.json" {
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
	g, err := block.LoadGenesis(filepath.Join(home, "config/genesis.json"))
	require.NoError(t, err)
	require.Equal(t, "test-chain", g.ChainID)
	require.Equal(t, uint64(7), g.DAStartHeight)
	require.WithinDuration(t, time.Now(), g.StartTime, time.Minute)

	loaded, err := app.Load(app.Sources{Home: home})
	require.NoError(t, err, "what init writes can be read")
	require.Equal(t, "sequencer", loaded.Config.Role)
	require.Equal(t, 250*time.Millisecond, loaded.Config.Sequencer.BlockTime)
	require.True(t, loaded.Config.Sequencer.Lazy)
	require.False(t, loaded.Config.P2P.DHT)
	require.Equal(t, []string{"/ip4/127.0.0.1/tcp/0"}, loaded.Config.P2P.ListenAddresses)
	require.Equal(t, []string{"http://127.0.0.1:1"}, loaded.Config.DA.Addresses)
	require.True(t, filepath.IsAbs(loaded.Config.Signer.PassphraseFile), "where init read it is where start finds it")
	require.Contains(t, made[app.ReferenceFile], "# How long a started sequencer", "the file explains its keys")
}

func TestInitFollowers(t *testing.T) {
	sequencer := newSequencer(t)
	genesis := filepath.Join(sequencer, "config/genesis.json")
	for _, role := range []string{"full", "light"} {
		home := filepath.Join(t.TempDir(), role)
		r := tandem(t, "init", "--home", home, "--role", role, "--genesis", genesis, "--syncer.retry_max", "7s")
		require.Equal(t, exitOK, r.code, r.err)
		require.Contains(t, r.out, role+" of chain test-chain")
		require.Contains(t, r.out, "tandem start --home "+home)
		made := files(t, home)
		require.Len(t, made, 4, "a follower signs nothing and has no signer key")
		require.Equal(t, files(t, sequencer)["config/genesis.json"], made["config/genesis.json"])
		loaded, err := app.Load(app.Sources{Home: home})
		require.NoError(t, err)
		require.Equal(t, role, loaded.Config.Role)
		require.Equal(t, 7*time.Second, loaded.Config.Syncer.RetryMax)
		require.Equal(t, exitOK, tandem(t, "config", "check", "--home", home).code)
	}
}

// TestInitKnowsTheEnvironment: what the node will be told there is not missing.
func TestInitKnowsTheEnvironment(t *testing.T) {
	t.Setenv("TANDEM_DA_ADDRESS", "http://127.0.0.1:1")
	t.Setenv("TANDEM_SIGNER_PASSPHRASE", "secret")
	home := t.TempDir()
	r := tandem(t, "init", "--home", home, "--role", "sequencer", "--da-start-height", "1")
	require.Equal(t, exitOK, r.code, r.err)
	require.NotContains(t, files(t, home)[app.ConfigFile], "http://127.0.0.1:1", "it is not written down")
	require.Equal(t, exitOK, tandem(t, "config", "check", "--home", home).code)
}

func TestInitNeverOverwrites(t *testing.T) {
	home := newSequencer(t)
	before := files(t, home)
	again := []string{"init", "--home", home, "--role", "sequencer", "--da-start-height", "1", "--da.address", "http://127.0.0.1:1", "--signer.passphrase_file", passphraseFile(t, "other")}
	fails(t, exitConfig, "already initialized", again...)
	require.Equal(t, before, files(t, home))
	for name := range before { // also a home that has only one of the files
		if name == "config/node_key.json" || name == app.ReferenceFile {
			continue
		}
		part := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(part, "config"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(part, name), []byte(before[name]), 0o600))
		again[2] = part
		fails(t, exitConfig, "already initialized", again...)
		require.Equal(t, map[string]string{name: before[name]}, files(t, part))
	}
}

// TestInitWritesAllOrNothing: what is wrong is found before the first file.
func TestInitWritesAllOrNothing(t *testing.T) {
	pass := passphraseFile(t, "secret")
	genesis := filepath.Join(newSequencer(t), "config/genesis.json")
	notGenesis := filepath.Join(t.TempDir(), "genesis.json")
	require.NoError(t, os.WriteFile(notGenesis, []byte(`{"chain_id":"x"}`), 0o600))
	tests := []struct {
		name, want string
		args       []string
	}{
		{"no genesis", "needs the genesis file of its sequencer (--genesis FILE)", nil},
		{"no genesis, light", "needs the genesis file of its sequencer (--genesis FILE)", []string{"--role", "light"}},
		{"genesis is not there", "no such file", []string{"--genesis", "nowhere.json"}},
		{"genesis is something else", "start_time", []string{"--genesis", notGenesis}},
		{"unknown role", `role is "king", want one of full, light, sequencer`, []string{"--role", "king"}},
		{"bad value", "p2p.peers", []string{"--genesis", genesis, "--p2p.peers", "localhost"}},
		{"no source", "no source of blocks", []string{"--genesis", genesis, "--p2p.disabled"}},
		{"sequencer without DA", "da.address is empty", []string{"--role", "sequencer", "--da-start-height", "1", "--signer.passphrase_file", pass}},
		{"no name", "--chain-id is empty", []string{"--role", "sequencer", "--da-start-height", "1", "--signer.passphrase_file", pass, "--da.address", "http://a", "--chain-id", ""}},
		{"control character", `--chain-id is "a\x1b[31m", want printable`, []string{"--role", "sequencer", "--da.address", "http://127.0.0.1:1", "--chain-id", "a\x1b[31m"}},
		{"no passphrase", "no passphrase: set signer.passphrase_file", []string{"--role", "sequencer", "--da-start-height", "1", "--da.address", "http://a"}},
		{"empty passphrase", "is empty", []string{"--role", "sequencer", "--da-start-height", "1", "--da.address", "http://a", "--signer.passphrase_file", passphraseFile(t, "")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			fails(t, exitConfig, tt.want, append([]string{"init", "--home", home}, tt.args...)...)
			require.Empty(t, files(t, home))
		})
	}
}

func TestConfigShow(t *testing.T) {
	t.Setenv("TANDEM_SYNCER_RETRY_MAX", "9s")
	home := newSequencer(t, "--da.auth_token", "very-secret")
	r := tandem(t, "config", "show", "--home", home, "--log.level", "warn")
	require.Equal(t, exitOK, r.code, r.err)
	rows := map[string][]string{}
	for line := range strings.Lines(r.out) {
		fields := strings.Fields(line)
		rows[fields[0]] = fields[1:]
	}
	require.Len(t, rows, len(app.KeyDocs()), "every key")
	require.Equal(t, []string{"warn", "flag"}, rows["log.level"])
	require.Equal(t, []string{"9s", "env"}, rows["syncer.retry_max"])
	require.Equal(t, []string{"sequencer", "file"}, rows["role"])
	require.Equal(t, []string{"(hidden)", "file"}, rows["da.auth_token"])
	require.NotContains(t, r.out, "very-secret")
}

func TestConfigCheck(t *testing.T) {
	home := newSequencer(t)
	r := tandem(t, "config", "check", "--home", home)
	require.Equal(t, exitOK, r.code, r.err)
	require.Regexp(t, `^ok: sequencer of chain test-chain \(genesis [0-9A-F]{8}\)\n$`, r.out)
	path := filepath.Join(home, app.ConfigFile)
	text, err := app.RenderConfig(map[string]any{"role": "sequencer", "da.address": []string{"http://127.0.0.1:1"}})
	require.NoError(t, err)
	for _, tt := range []struct{ old, changed, want string }{
		{"log:", "logs:", `unknown key "logs.`},
		{"retry_max: 5s", "retry_max: 5", "5 is not a duration"},
		{"role:", "role: [", "tandem.yaml: "},
		{"genesis_file: config/", "genesis_file: gone/", "no genesis file at"},
		{"key_file: config/signer.json", "key_file: config/tandem.yaml", "not a key file"},
		{"key_file: config/signer.json", "key_file: gone.json", "no signer key at"},
		{"node_key_file: config/node_key.json", "node_key_file: config/genesis.json", "genesis.json: "},
	} {
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(text, tt.old, tt.changed, 1)), 0o600))
		r := tandem(t, "config", "check", "--home", home)
		require.Equal(t, exitConfig, r.code, tt.changed)
		for line := range strings.SplitSeq(strings.TrimSpace(r.err), "\n") {
			require.True(t, strings.HasPrefix(line, "tandem: "), line)
		}
		require.Contains(t, r.err, tt.want)
	}
}
