package app_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
)

func home(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "config"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, app.ConfigFile), []byte(config), 0o600))
	return dir
}

// TestTemplateIsTheDefaults: the commented file holds every key, with its
// default and a comment, and nothing else.
func TestTemplateIsTheDefaults(t *testing.T) {
	text, err := app.RenderConfig(nil)
	require.NoError(t, err)
	loaded, err := app.Load(app.Sources{Home: home(t, text)})
	require.NoError(t, err)
	require.Equal(t, app.Default(), loaded.Config)
	docs := app.KeyDocs()
	for key, origin := range loaded.Origin {
		require.Equal(t, "file", origin, "%s is missing in config.yaml", key)
		require.NotEmpty(t, docs[key], key)
	}
	require.Len(t, docs, len(loaded.Origin))
}

func TestRenderWithOtherValues(t *testing.T) {
	text, err := app.RenderConfig(map[string]any{"rpc.address": "127.0.0.1:0", "p2p.peers": []string{}, "sequencer.block_time": "5s"})
	require.NoError(t, err)
	loaded, err := app.Load(app.Sources{Home: home(t, text)})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:0", loaded.Config.RPC.Address)
	require.Equal(t, "5s", loaded.Config.Sequencer.BlockTime.String())
	_, err = app.RenderConfig(map[string]any{"rpc.adress": ""})
	require.ErrorContains(t, err, "no such config key: rpc.adress")
}

func TestLayers(t *testing.T) {
	dir := home(t, "log:\n  level: warn\n  format: json\nrole: light\n")
	flags := app.Flags()
	require.NoError(t, flags.Parse([]string{"--log.level=error", "--sequencer.lazy", "--p2p.dht=false"}))
	loaded, err := app.Load(app.Sources{
		Home: dir, Flags: flags,
		Env: []string{"TANDEM_LOG_LEVEL=debug", "TANDEM_SYNCER_RETRY_MAX=7s", "TANDEM_P2P_BLOCKED_PEERS=", "HOME=/x", "TANDEM_HOME=/y"},
	})
	require.NoError(t, err)
	require.Equal(t, "error", loaded.Config.Log.Level, "flags win over variables over the file")
	require.Equal(t, "json", loaded.Config.Log.Format)
	require.Equal(t, "light", loaded.Config.Role)
	require.Equal(t, "7s", loaded.Config.Syncer.RetryMax.String())
	require.True(t, loaded.Config.Sequencer.Lazy)
	require.False(t, loaded.Config.P2P.DHT)
	require.Equal(t, "flag", loaded.Origin["log.level"])
	require.Equal(t, "file", loaded.Origin["log.format"])
	require.Equal(t, "env", loaded.Origin["syncer.retry_max"])
	require.Equal(t, "default", loaded.Origin["rpc.address"])
}

func TestListsFromTheEnvironment(t *testing.T) {
	const a, b = "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWGRYZDHBembyGJQqQ6WgLqJWYNjnECJwGBnCg8vbCeo8F", "/ip4/1.2.3.5/tcp/1/p2p/12D3KooWGRYZDHBembyGJQqQ6WgLqJWYNjnECJwGBnCg8vbCeo8F"
	loaded, err := app.Load(app.Sources{Home: t.TempDir(), Env: []string{"TANDEM_P2P_PEERS=" + a + "," + b}})
	if err != nil {
		require.NotContains(t, err.Error(), "p2p.peers: \"/ip4/1.2.3.4/tcp/1/p2p/12D3KooWGRYZDHBembyGJQqQ6WgLqJWYNjnECJwGBnCg8vbCeo8F,", "the list is split")
		return
	}
	require.Equal(t, []string{a, b}, loaded.Config.P2P.Peers)
}

// One DA node is a list of one, however it is written.
func TestDAAddresses(t *testing.T) {
	const a, b = "http://127.0.0.1:1", "http://127.0.0.1:2"
	for text, want := range map[string][]string{
		`""`: {}, `[]`: {}, `"` + a + `"`: {a}, `"` + a + "," + b + `"`: {a, b}, `["` + a + `", "` + b + `"]`: {a, b},
	} {
		home := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(home, "config"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(home, app.ConfigFile), []byte("da:\n  address: "+text+"\n"), 0o600))
		loaded, err := app.Load(app.Sources{Home: home})
		require.NoError(t, err, text)
		require.Equal(t, want, loaded.Config.DA.Addresses, text)
	}
	for text, want := range map[string][]string{"": {}, a: {a}, a + "," + b: {a, b}} {
		flags := app.Flags()
		require.NoError(t, flags.Parse([]string{"--da.address", text}))
		loaded, err := app.Load(app.Sources{Home: t.TempDir(), Flags: flags})
		require.NoError(t, err)
		require.Equal(t, want, loaded.Config.DA.Addresses)
		loaded, err = app.Load(app.Sources{Home: t.TempDir(), Env: []string{"TANDEM_DA_ADDRESS=" + text}})
		require.NoError(t, err)
		require.Equal(t, want, loaded.Config.DA.Addresses)
	}
	_, err := app.Load(app.Sources{Home: t.TempDir(), Env: []string{"TANDEM_DA_ADDRESS=" + a + "," + a}})
	require.ErrorContains(t, err, "da.address names http://127.0.0.1:1 twice")
}

func TestProblemsAreOneLineEach(t *testing.T) {
	tests := []struct {
		name, config string
		env          []string
		want         []string
	}{
		{"unknown key", "p2p:\n  peer: []\n", nil, []string{`unknown key "p2p.peer", did you mean "p2p.peers"?`}},
		{"unknown section", "p3p:\n  peers: [a]\n", nil, []string{`unknown key "p3p.peers", did you mean "p2p.peers"?`}},
		{"unknown variable", "", []string{"TANDEM_RPC_ADDRESSS=x"}, []string{"unknown variable TANDEM_RPC_ADDRESSS", `"rpc.address"`}},
		{"not YAML", "role: [", nil, []string{"tandem.yaml"}},
		{"wrong type", "syncer:\n  max_blocks: many\n", nil, []string{"max_blocks"}},
		{"bare number as duration", "syncer:\n  retry_max: 5\n", nil, []string{"5 is not a duration"}},
		{"bad duration", "syncer:\n  retry_max: 5 lightyears\n", nil, []string{`"5 lightyears" is not a duration`}},
		{
			"many problems", "role: king\nlog:\n  level: loud\nsyncer:\n  max_blocks: 0\n", nil,
			[]string{`role is "king", want one of full, light, sequencer`, `log.level is "loud"`, "syncer.max_blocks is 0, want at least 1"},
		},
		{"sequencer without DA", "role: sequencer\n", nil, []string{"da.address is empty"}},
		{"no source", "p2p:\n  disabled: true\n", nil, []string{"no source of blocks"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := app.Load(app.Sources{Home: home(t, tt.config), Env: tt.env})
			require.Error(t, err)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.Len(t, strings.Split(err.Error(), "\n"), max(1, problems(tt.want, tt.name)), "got: %s", err)
		})
	}
}

func problems(want []string, name string) int {
	if name == "many problems" {
		return len(want)
	}
	return 1
}

func TestNamespacesDefaultFromTheChain(t *testing.T) {
	for in, want := range map[app.Namespaces]app.Namespaces{
		{}:                       {Header: "c-headers", Data: "c-data"},
		{Header: "h"}:            {Header: "h", Data: "h"},
		{Data: "d"}:              {Header: "c-headers", Data: "d"},
		{Header: "h", Data: "d"}: {Header: "h", Data: "d"},
	} {
		require.Equal(t, want, in.Of("c"), fmt.Sprint(in))
	}
}

func FuzzConfigFile(f *testing.F) {
	text, err := app.RenderConfig(nil)
	require.NoError(f, err)
	f.Add(text)
	f.Add("role: full\np2p: 3\n")
	dir := f.TempDir()
	require.NoError(f, os.MkdirAll(filepath.Join(dir, "config"), 0o750))
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, app.ConfigFile), []byte(text), 0o600))
		loaded, err := app.Load(app.Sources{Home: dir})
		if err == nil {
			require.Empty(t, loaded.Config.Problems())
		}
	})
}

// TestConfigFilesAtRandom spoils the default file in many ways: each is taken and has
// no problem, or refused. It does in seconds what the fuzzer, which counts the
// coverage of the whole node, does in minutes.
func TestConfigFilesAtRandom(t *testing.T) {
	text, err := app.RenderConfig(nil)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "config"), 0o750))
	values := []string{
		"", "0", "-1", "9223372036854775808", "1e309", ".inf", ".nan", "true", "null", "~", "[]", "[a, 1]", "{}", "{a: {b: c}}", "1h", "-1h", "&x [*x]",
		"!!binary x", "\"\\0\"", "2026-01-01", "|", "<<: *x", "\t", "\xff", strings.Repeat("9", 400), strings.Repeat("[", 10_000),
	}
	runs := 300
	if testing.Short() {
		runs = 60
	}
	taken := 0
	r := rand.New(rand.NewPCG(1, 2))
	for range runs {
		lines := strings.Split(text, "\n")
		for range 1 + r.IntN(2) {
			at := r.IntN(len(lines))
			key, _, isKey := strings.Cut(lines[at], ": ")
			switch value := values[r.IntN(len(values))]; {
			case r.IntN(4) == 0:
				lines = slices.Delete(lines, at, at+1)
			case r.IntN(8) == 0:
				lines[at] = "  " + lines[at]
			case isKey:
				lines[at] = key + ": " + value
			default:
				lines[at] += value
			}
		}
		spoilt := strings.Join(lines, "\n")
		require.NoError(t, os.WriteFile(filepath.Join(dir, app.ConfigFile), []byte(spoilt), 0o600))
		loaded, err := app.Load(app.Sources{Home: dir})
		if err == nil {
			taken++
			require.Empty(t, loaded.Config.Problems(), spoilt)
		}
	}
	require.Greater(t, taken, runs/20)
	require.Less(t, taken, runs)
}
