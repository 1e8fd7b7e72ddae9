package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/signer"
)

// binaryVariable names a built binary for the tests with real processes. It is
// no variable of the product, which refuses those it does not know.
const binaryVariable = "TANDEM_BINARY"

var (
	givenBinary string   // the value of binaryVariable
	atExit      []func() // run after the last test
)

func TestMain(m *testing.M) {
	givenBinary = os.Getenv(binaryVariable)
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, app.EnvPrefix) {
			_ = os.Unsetenv(name)
		}
	}
	code := m.Run()
	for _, f := range atExit {
		f()
	}
	os.Exit(code)
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// tandem runs a command in this process.
func tandem(t *testing.T, args ...string) result {
	t.Helper()
	return tandemContext(t.Context(), args...)
}

func tandemContext(ctx context.Context, args ...string) result {
	var out, errOut bytes.Buffer
	code := run(ctx, args, &out, &errOut)
	return result{code: code, out: out.String(), err: errOut.String()}
}

// problems are the lines of standard error that are no log lines.
func (r result) problems() []string { return problemLines(r.err) }

func problemLines(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "tandem: "); ok {
			found = append(found, strings.TrimSpace(rest))
		}
	}
	return found
}

// fails runs a command that must fail with a code and one line that holds want.
func fails(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	r := tandem(t, args...)
	require.Equal(t, code, r.code, "exit code of %q: %s", args, r.err)
	lines := slices.DeleteFunc(r.problems(), func(line string) bool {
		return strings.HasPrefix(line, "see 'tandem") && strings.HasSuffix(line, " --help'")
	})
	require.Len(t, lines, 1, "lines of %q: %s", args, r.err)
	require.Contains(t, lines[0], want)
}

// passphraseFile returns a file with a passphrase.
func passphraseFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passphrase")
	require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	return path
}

// relative returns a path as seen from here.
func relative(t *testing.T, path string) string {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	path, err = filepath.Rel(here, path)
	require.NoError(t, err)
	return path
}

// newSequencer makes the home of a sequencer and returns it.
func newSequencer(t *testing.T, more ...string) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "sequencer")
	args := []string{
		"init", "--home", home, "--role", "sequencer", "--da-start-height", "1", "--chain-id", "test-chain",
		"--da.address", "http://127.0.0.1:1", "--signer.passphrase_file", relative(t, passphraseFile(t, "secret")),
		"--rpc.address", "127.0.0.1:0", "--p2p.listen_addresses", "/ip4/127.0.0.1/tcp/0", "--p2p.dht=false",
	}
	r := tandem(t, append(args, more...)...)
	require.Equal(t, exitOK, r.code, r.err)
	return home
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		r := tandem(t, arg)
		require.Equal(t, exitOK, r.code)
		require.Regexp(t, `^tandem \S+ \(go\S+ \w+/\w+\)\n$`, r.out)
	}
}

func TestHelpListsTheCommands(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {}} {
		r := tandem(t, args...)
		require.Equal(t, exitOK, r.code)
		require.Empty(t, r.err)
		for _, name := range []string{"init", "start", "devnet", "da", "status", "tx", "keys", "config", "graph", "version", "completion"} {
			require.Regexp(t, `(?m)^  `+name+` +[A-Z]`, r.out, "tandem %v", args)
		}
	}
	for _, args := range [][]string{{"keys"}, {"config"}} {
		r := tandem(t, args...)
		require.Equal(t, exitOK, r.code)
		require.Contains(t, r.out, "show")
	}
}

func TestHelpOfStartHasEveryKey(t *testing.T) {
	r := tandem(t, "start", "--help")
	require.Equal(t, exitOK, r.code)
	for key := range app.KeyDocs() {
		require.Contains(t, r.out, "--"+key)
	}
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"foo"}, `unknown command "foo" for "tandem"`},
		{[]string{"statu"}, `unknown command "statu" for "tandem", did you mean "status"?`},
		{[]string{"keys", "imprt"}, `unknown command "imprt" for "tandem keys", did you mean "import"?`},
		{[]string{"config", "edit"}, `unknown command "edit" for "tandem config"`},
		{[]string{"start", "now"}, `unknown command "now" for "tandem start"`},
		{[]string{"--nope"}, "unknown flag: --nope"},
		{[]string{"start", "--p2p.peer", "x"}, "unknown flag: --p2p.peer, did you mean --p2p.peers?"},
		{[]string{"devnet", "--frsh"}, "unknown flag: --frsh, did you mean --fresh?"},
		{[]string{"completion", "tcsh"}, `unknown command "tcsh" for "tandem completion"`},
		{[]string{"devnet", "--da-block-time", "-1s"}, "--da-block-time is -1s, want at least 10ms"},
		{[]string{"devnet", "--da-block-time", "9ms"}, "--da-block-time is 9ms, want at least 10ms"},
		{[]string{"devnet", "--block-time", "0s"}, "--block-time is 0s, want more than 0"},
		{[]string{"devnet", "--for", "-1s"}, "--for is -1s, want 0 or more"},
		{[]string{"devnet", "--tx-every", "-1ms"}, "--tx-every is -1ms, want 0 or more"},
		{[]string{"peers", "ban", "foo"}, `"foo" is no peer id`},
		{[]string{"peers", "unban", "foo"}, `"foo" is no peer id`},
		{[]string{"start", "--syncer.retry_max", "5"}, `--syncer.retry_max is "5", want a duration like 1m30s`},
		{[]string{"start", "--p2p.dht=perhaps"}, `--p2p.dht is "perhaps", want true or false`},
		{[]string{"start", "--da.answer_bytes", "many"}, `--da.answer_bytes is "many", want bytes like 67108864 or 64MiB`},
		{[]string{"start", "--tracing.sample_ratio", "all"}, `--tracing.sample_ratio is "all", want a number`},
		{[]string{"tx"}, "0 arguments, want: tandem tx KEY=VALUE..."},
		{[]string{"graph"}, "0 arguments, want: tandem graph ROLE"},
		{[]string{"peers", "ban", "a", "b"}, "2 arguments, want: tandem peers ban ID"},
		{[]string{"graph", "full", "--format", "svg"}, `--format is "svg", want dot or mermaid`},
		{[]string{"graph", "king"}, `role is "king", want one of full, light, sequencer`},
		{[]string{"status", "--rpc", "::"}, "is not an address like 127.0.0.1:7331"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			fails(t, exitUsage, tt.want, tt.args...)
			require.Regexp(t, `tandem: see 'tandem( [a-z]+)* --help'`, tandem(t, tt.args...).err)
		})
	}
}

func TestGraphOfEveryRole(t *testing.T) {
	parts := map[string][]string{
		"full":      {"*pipeline.Pipeline", "*syncer.Syncer", "*daworker.Worker"},
		"sequencer": {"*pipeline.Pipeline", "*sequencer.Producer", "*sequencer.Submitter"},
		"light":     {"*pipeline.Pipeline", "*syncer.Syncer", "*daworker.Worker"},
	}
	require.Len(t, parts, len(app.RoleNames()))
	for _, role := range app.RoleNames() {
		r := tandem(t, "graph", role)
		require.Equal(t, exitOK, r.code, r.err)
		require.True(t, strings.HasPrefix(r.out, "digraph {"), role)
		for _, part := range parts[role] {
			require.Contains(t, r.out, part, role)
		}
	}
	require.NotContains(t, tandem(t, "graph", "full").out, "sequencer.Producer")
	drawn := tandem(t, "graph", "full", "--format", "mermaid")
	require.Equal(t, exitOK, drawn.code, drawn.err)
	require.True(t, strings.HasPrefix(drawn.out, "flowchart LR\n"))
	require.Contains(t, drawn.out, "syncer --> pipeline")
}

// TestDocs: docs/cli.md knows every command, exit code and variable.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	require.NoError(t, err)
	for _, cmd := range newRoot().Commands() {
		if cmd.IsAvailableCommand() && cmd.Name() != "help" {
			require.Contains(t, string(text), "`tandem "+cmd.Name())
		}
	}
	for _, code := range []int{exitOK, exitFailed, exitUsage, exitConfig, exitStart} {
		require.Contains(t, string(text), fmt.Sprintf("\n| %d | ", code))
	}
	for _, name := range []string{"TANDEM_HOME", signer.EnvPassphrase, app.EnvName("p2p.peers"), app.ConfigFile} {
		require.Contains(t, string(text), name)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := tandem(t, "completion", shell)
		require.Equal(t, exitOK, r.code)
		require.Contains(t, r.out, "tandem")
		require.Greater(t, len(r.out), 1000)
	}
	r := tandem(t, "__complete", "graph", "")
	require.Equal(t, exitOK, r.code)
	for _, role := range app.RoleNames() {
		require.Contains(t, r.out, role)
	}
}

// TestStartRefusesInOneLine: exit code 3 is for what a person must set right in
// files, 4 for what is in the way on this machine.
func TestStartRefusesInOneLine(t *testing.T) {
	home := newSequencer(t)
	fails(t, exitConfig, "no genesis file at", "start", "--home", t.TempDir())
	fails(t, exitConfig, "wrong passphrase", "start", "--home", home, "--signer.passphrase_file", passphraseFile(t, "guess"))
	fails(t, exitConfig, "no such file", "start", "--home", home, "--signer.passphrase_file", "nowhere")
	fails(t, exitConfig, `log.level is "loud"`, "start", "--home", home, "--log.level", "loud")

	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	address := taken.Addr().String()
	fails(t, exitStart, address+" is already in use by another process", "start", "--home", home, "--rpc.address", address)
	_, port, _ := net.SplitHostPort(address)
	fails(t, exitStart, port, "start", "--home", home, "--p2p.listen_addresses", "/ip4/127.0.0.1/tcp/"+port)
	fails(t, exitStart, address, "da", "--home", t.TempDir(), "--listen", address)
	fails(t, exitConfig, `listen is "nonsense"`, "da", "--home", t.TempDir(), "--listen", "nonsense")
}

func TestNobodyAnswers(t *testing.T) {
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	fails(t, exitFailed, "no node answers at "+address+": is it running?", "status", "--rpc", address)
	fails(t, exitFailed, "no node answers at "+address+": is it running?", "tx", "--rpc", "http://"+address, "a=b")
	fails(t, exitConfig, "the API of this node is off", "status", "--home", newSequencer(t, "--rpc.address", ""))
	home := newSequencer(t, "--rpc.address", address)
	fails(t, exitFailed, "no node answers at "+address, "status", "--home", home)
}
