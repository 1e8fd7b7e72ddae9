//go:build e2e && linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// agreed runs a devnet for a while and returns the height that was final on all
// nodes when they agreed.
func agreed(t *testing.T, args ...string) int {
	t.Helper()
	r := command(t, append([]string{"devnet", "--block-time", "300ms", "--da-block-time", "500ms", "--tx-every", "200ms"}, args...)...)
	require.Equal(t, exitOK, r.code, r.out+r.err)
	require.Empty(t, r.err)
	m := regexp.MustCompile(`(?m)^all 3 nodes agree: height (\d+), state root [0-9A-F]{64}, final head (\d+)$`).FindStringSubmatch(r.out)
	require.Len(t, m, 3, r.out)
	final, err := strconv.Atoi(m[2])
	require.NoError(t, err)
	require.Regexp(t, `(?m)^stopped in \d+`, r.out)
	return final
}

// TestDevnet: the first command of a newcomer, and that its data is kept.
func TestDevnet(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "devnet")
	first := agreed(t, "--dir", dir, "--for", "5s")
	second := agreed(t, "--dir", dir, "--for", "4s")
	require.Greater(t, second, first, "the chain goes on")

	p := launch(t, "devnet", "devnet", "--dir", dir, "--block-time", "300ms", "--da-block-time", "500ms")
	p.await(t, "send         curl")
	p.await(t, "sequencer")
	p.kill() // all nodes and DA at once
	third := agreed(t, "--dir", dir, "--for", "4s")
	require.Greater(t, third, second)

	p = launch(t, "devnet", "devnet", "--dir", dir)
	p.await(t, "send         curl")
	t.Logf("devnet stopped in %s", p.terminate(t, syscall.SIGINT))
	p.await(t, "data kept in "+dir)

	genesis := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "sequencer", "config", "genesis.json"))
		require.NoError(t, err)
		return string(text)
	}
	old := genesis()
	agreed(t, "--dir", dir, "--fresh", "--for", "4s")
	require.NotEqual(t, old, genesis(), "a new chain")
	r := command(t, "devnet", "--dir", filepath.Dir(dir), "--fresh", "--for", "1s")
	require.Equal(t, exitConfig, r.code)
	require.Len(t, problemLines(r.err), 1)
	require.DirExists(t, dir, "only a devnet is deleted")
}
