package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRollbackRefusals(t *testing.T) {
	home := newSequencer(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "--to is missing, want the height of the block to keep"},
		{[]string{"--to", "x"}, exitUsage, "--to is \"x\", want a whole number"},
		{[]string{"--to", "3"}, exitFailed, "there is no database at " + filepath.Join(home, "data/chain.db") + ": nothing to roll back"},
	} {
		r := tandem(t, append([]string{"rollback", "--home", home}, c.args...)...)
		require.Equal(t, c.code, r.code, r.err)
		require.Contains(t, r.err, c.want)
		require.Empty(t, r.out)
	}
	r := tandem(t, "rollback", "--home", filepath.Join(t.TempDir(), "none"), "--to", "3")
	require.Equal(t, exitConfig, r.code)
}

func TestRepairOfAFreshHome(t *testing.T) {
	home := newSequencer(t)
	before := files(t, home)
	r := tandem(t, "repair", "--home", home, "--apply")
	require.Equal(t, exitOK, r.code, r.err)
	require.Contains(t, r.out, "chain test-chain: applied 0, final 0, executor at 0\nnothing is wrong\n")
	require.Equal(t, before, files(t, home))
	r = tandem(t, "repair", "--home", home, "--json")
	require.JSONEq(t, `{"chain_id":"test-chain","applied":0,"final":0,"executed":0,"findings":[]}`, r.out)
	r = tandem(t, "repair", "--home", home, "--discard-unposted")
	require.Equal(t, exitUsage, r.code)
}
