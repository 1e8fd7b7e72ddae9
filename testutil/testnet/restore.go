package testnet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/signer"
)

// Signed returns the highest height of which a header was signed.
func (n *Net) Signed() uint64 { return n.signed.highest() }

// Copy keeps a copy of the node's home as it is now, for Restore.
func (x *Node) Copy() string {
	t := x.net.t
	t.Helper()
	synctest.Wait() // nobody writes while the files are copied
	x.copies++
	path := filepath.Join(filepath.Dir(x.home), "copy-"+strconv.Itoa(x.copies))
	require.NoError(t, copyHome(path, x.home), "copy of the home of %s", x.Name())
	return path
}

// Restore replaces the home of a node that does not run by a copy. What its signer
// remembers is kept, as if it were on another disk, or is restored with the copy.
func (x *Node) Restore(path string, keepSigner bool) {
	t := x.net.t
	t.Helper()
	require.False(t, x.Running(), "%s runs", x.Name())
	next := x.nextHome()
	require.NoError(t, copyHome(next, path), "copy of the home of %s", x.Name())
	if keepSigner {
		name := signer.Default().StateFile
		state, err := os.ReadFile(filepath.Join(x.home, name)) //nolint:gosec // a home of this net
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(next, name), state, 0o600)) //nolint:gosec // a home of this net
		}
	}
	x.home = next
	x.homes++
}
