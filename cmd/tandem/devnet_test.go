package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
)

// The table fits a terminal of 80 columns: a line that wraps would be drawn over in part.
func TestDevnetTableFits(t *testing.T) {
	const width = 80
	long := rpc.Status{Heads: rpc.Heads{Header: 10_000_000, Data: 10_000_000, Applied: 10_000_000, Final: 10_000_000}, WaitingFor: strings.Repeat("a reason ", 20)}
	lines := tableOf([]string{"sequencer", "follower", "da-follower"}, []rpc.Status{long, {}, long})
	require.Len(t, lines, 6, "a head, three nodes, two that wait")
	for i, line := range lines {
		if i < 4 {
			require.LessOrEqual(t, len(line), width, line)
		}
		require.LessOrEqual(t, utf8.RuneCountInString(cut(line, width)), width)
	}
	require.Equal(t, "sequencer waits for a r…", cut(lines[4], 24))
	require.Equal(t, lines[4], cut(lines[4], 0))
}

// A line that is noted stays above the table.
func TestDevnetNotesStay(t *testing.T) {
	var out strings.Builder
	table := table{out: &out, live: true, lines: 4}
	table.erase()
	require.Equal(t, "\x1b[4A\x1b[J", out.String())
	require.Zero(t, table.lines, "what is printed next is not drawn over")
}

func TestDevnetDirectoryIsClaimed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "devnet")
	lock, err := claimDevnet(dir, false)
	require.NoError(t, err)
	kept := filepath.Join(dir, "sequencer", "data")
	require.NoError(t, os.MkdirAll(kept, 0o750))
	fails(t, exitStart, "a devnet runs in "+dir+" already", "devnet", "--dir", dir, "--fresh", "--for", "1s")
	fails(t, exitStart, "a devnet runs in "+dir+" already", "devnet", "--home", dir, "--for", "1s")
	require.DirExists(t, kept)
	require.NoError(t, lock.Close())

	lock, err = claimDevnet(dir, true)
	require.NoError(t, err)
	require.NoDirExists(t, kept)
	require.NoError(t, lock.Close())
	fails(t, exitUsage, "--home and --dir", "devnet", "--dir", dir, "--home", dir, "--for", "1s")

	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "letter"), nil, 0o600))
	fails(t, exitConfig, "it holds letter", "devnet", "--dir", other, "--fresh", "--for", "1s")
	require.FileExists(t, filepath.Join(other, "letter"))
}
