package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func field(t *testing.T, out, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` +(\S+)$`).FindStringSubmatch(out)
	require.Len(t, m, 2, "%s in %s", name, out)
	return m[1]
}

func TestKeysShow(t *testing.T) {
	home := newSequencer(t)
	r := tandem(t, "keys", "show", "--home", home)
	require.Equal(t, exitOK, r.code, r.err)
	require.True(t, strings.HasPrefix(field(t, r.out, "node id"), "12D3KooW"))
	require.Len(t, field(t, r.out, "address"), 64)
	require.Len(t, field(t, r.out, "public key"), 64)

	follower := filepath.Join(t.TempDir(), "full")
	require.Equal(t, exitOK, tandem(t, "init", "--home", follower, "--genesis", filepath.Join(home, "config/genesis.json")).code)
	require.Equal(t, "none", field(t, tandem(t, "keys", "show", "--home", follower).out, "signer key"))
	fails(t, exitConfig, "run 'tandem init'", "keys", "show", "--home", t.TempDir())
}

// TestKeysMove: a chain goes on in another home, with the key brought along.
func TestKeysMove(t *testing.T) {
	home := newSequencer(t)
	fails(t, exitConfig, "wrong passphrase", "keys", "export", "--home", home, "--signer.passphrase_file", passphraseFile(t, "guess"))
	exported := tandem(t, "keys", "export", "--home", home)
	require.Equal(t, exitOK, exported.code, exported.err)
	require.Regexp(t, `^[0-9a-f]{128}\n$`, exported.out, "it can be sent to a file")
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(exported.out), 0o600))

	moved := filepath.Join(t.TempDir(), "moved")
	r := tandem(t, "init", "--home", moved, "--role", "sequencer", "--da-start-height", "1", "--da.address", "http://127.0.0.1:1",
		"--genesis", filepath.Join(home, "config/genesis.json"), "--signer.passphrase_file", relative(t, passphraseFile(t, "new secret")))
	require.Equal(t, exitOK, r.code, r.err)
	fails(t, exitConfig, "no signer key at", "start", "--home", moved)
	fails(t, exitConfig, "no signer key at", "config", "check", "--home", moved)

	r = tandem(t, "keys", "import", "--home", moved, file)
	require.Equal(t, exitOK, r.code, r.err)
	before := tandem(t, "keys", "show", "--home", home).out
	require.Equal(t, field(t, before, "address"), field(t, r.out, "address"))
	require.Equal(t, exported.out, tandem(t, "keys", "export", "--home", moved).out)
	fails(t, exitConfig, "already exists: --force replaces it and keeps the old file", "keys", "import", "--home", moved, file)
	require.Equal(t, exitOK, tandem(t, "config", "check", "--home", moved).code)
}

// An import over a key keeps the old one in a file of its own, however often.
func TestKeysImportForceKeepsTheOldKey(t *testing.T) {
	home, other := newSequencer(t), newSequencer(t)
	first := tandem(t, "keys", "export", "--home", home)
	second := tandem(t, "keys", "export", "--home", other)
	require.Equal(t, exitOK, first.code)
	file := filepath.Join(t.TempDir(), "key")
	for n, key := range []string{second.out, first.out} {
		before := files(t, home)["config/signer.json"]
		require.NoError(t, os.WriteFile(file, []byte(key), 0o600))
		r := tandem(t, "keys", "import", "--force", "--home", home, file)
		require.Equal(t, exitOK, r.code, r.err)
		require.Equal(t, before, files(t, home)[fmt.Sprintf("config/signer.json.old-%d", n+1)])
		require.Equal(t, key, tandem(t, "keys", "export", "--home", home).out)
	}
}

// TestForcedFindsDA: what is forced is posted to da.address of the flag, else of the
// home.
func TestForcedFindsDA(t *testing.T) {
	home := newSequencer(t, "--namespaces.forced", "f")
	fails(t, exitFailed, "127.0.0.1:1:", "tx", "--home", home, "--forced", "a=b")
	fails(t, exitFailed, "127.0.0.1:2:", "tx", "--home", home, "--forced", "--da.address", "http://127.0.0.1:2", "a=b")
}

// The namespaces are printed as explorers and DA nodes take them.
func TestNamespacesInHex(t *testing.T) {
	home := newSequencer(t)
	r := tandem(t, "namespaces", "--home", home, "--namespaces.forced", "mine")
	require.Equal(t, exitOK, r.code, r.err)
	for use, name := range map[string]string{"header": "test-chain-headers", "data": "test-chain-data", "forced": "mine"} {
		sum := sha256.Sum256([]byte(name))
		require.Regexp(t, fmt.Sprintf(`(?m)^%s +%s +%038x%x$`, use, name, 0, sum[:10]), r.out)
	}
	require.NotContains(t, tandem(t, "namespaces", "--home", home).out, "forced")
}

// What is missing in the config to force a transaction is an error of the config.
func TestForcedNeedsANamespace(t *testing.T) {
	home := newSequencer(t)
	fails(t, exitConfig, "namespaces.forced is empty", "tx", "--home", home, "--forced", "a=b")
	fails(t, exitFailed, "post to da", "tx", "--home", home, "--forced", "--namespaces.forced", "mine", "--da.address", "http://127.0.0.1:2", "a=b")
}

func TestKeysImportRefuses(t *testing.T) {
	home := newSequencer(t)
	for name, text := range map[string]string{
		"nothing": "", "half a key": strings.Repeat("ab", 32), "not hex": strings.Repeat("xy", 64),
		"too much": strings.Repeat("ab", 65),
	} {
		file := filepath.Join(t.TempDir(), "key")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		t.Run(name, func(t *testing.T) {
			fails(t, exitConfig, "the key is not 128 hex digits", "keys", "import", "--home", home, file)
		})
	}
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("ab", 64)), 0o600))
	fails(t, exitConfig, "not the public key of the first", "keys", "import", "--home", home, file)
	fails(t, exitConfig, "no such file", "keys", "import", "--home", home, file+"x")
}
