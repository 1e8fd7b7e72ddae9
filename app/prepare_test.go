package app_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

// madeHome makes a home as init does.
func madeHome(t *testing.T, role app.Role) string {
	t.Helper()
	dir := t.TempDir()
	p := app.InitParams{
		Home: dir, Role: role, ChainID: "c", StartTime: time.Now(), Passphrase: []byte("sesame"), DAStartHeight: 1,
		Overrides: map[string]any{"signer.passphrase_file": "config/passphrase", "da.address": "http://127.0.0.1:1"},
	}
	if !role.Produces() {
		g := testutil.NewChain("c").Genesis
		p.Genesis = &g
	}
	_, err := app.Init(p)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config", "passphrase"), []byte("sesame\n"), 0o600))
	return dir
}

// prepare reads a home as start does.
func prepare(t *testing.T, dir string) (app.Setup, error) {
	t.Helper()
	loaded, err := app.Load(app.Sources{Home: dir})
	require.NoError(t, err)
	return app.Prepare(t.Context(), app.PrepareParams{Home: dir, Version: "test", Config: loaded.Config, LogTo: io.Discard})
}

func TestPrepareAHome(t *testing.T) {
	for _, role := range allRoles() {
		dir := madeHome(t, role)
		s, err := prepare(t, dir)
		require.NoError(t, err)
		require.Equal(t, role, s.Role)
		require.Equal(t, "c", s.Genesis.ChainID)
		require.Equal(t, role.Produces(), s.Signer != nil)
		require.NotNil(t, s.NodeKey)
		again, err := prepare(t, dir)
		require.NoError(t, err)
		require.True(t, s.NodeKey.Equals(again.NodeKey), "the node keeps its name")
	}
}

// Keys are for their owner alone, also one that start makes because it is missing.
func TestKeyFilePermissions(t *testing.T) {
	dir := madeHome(t, app.RoleSequencer)
	c := app.Default().In(dir)
	require.NoError(t, os.Remove(c.Signer.NodeKeyFile))
	_, err := prepare(t, dir)
	require.NoError(t, err)
	for _, path := range []string{c.Signer.NodeKeyFile, c.Signer.KeyFile} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), path)
	}
}

// What others can read or reach is a warning; a home as init makes it has none.
func TestExposedIsWarnedOf(t *testing.T) {
	dir := madeHome(t, app.RoleSequencer)
	said := func(address string) string {
		loaded, err := app.Load(app.Sources{Home: dir})
		require.NoError(t, err)
		loaded.Config.RPC.Address = address
		var out bytes.Buffer
		_, err = app.Prepare(t.Context(), app.PrepareParams{Home: dir, Config: loaded.Config, LogTo: &out})
		require.NoError(t, err)
		return out.String()
	}
	require.NotContains(t, said("127.0.0.1:0"), "WARN")
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		require.Contains(t, said(address), "rpc.address is "+address)
	}
	c := app.Default().In(dir)
	for key, path := range map[string]string{"signer.key_file": c.Signer.KeyFile, "signer.node_key_file": c.Signer.NodeKeyFile} {
		require.NoError(t, os.Chmod(path, 0o644))
		require.Contains(t, said("127.0.0.1:0"), key+": "+path+" has mode 0644")
		require.NoError(t, os.Chmod(path, 0o600))
	}
}

// TestPrepareErrors: whatever is wrong with a home is one line that says which
// file it is.
func TestPrepareErrors(t *testing.T) {
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config", name), []byte(text), 0o600))
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			require.NoError(t, os.Remove(filepath.Join(dir, "config", name)))
		}
	}
	homes := map[app.Role]string{app.RoleFull: madeHome(t, app.RoleFull), app.RoleSequencer: madeHome(t, app.RoleSequencer)}
	for name, tc := range map[string]struct {
		role  app.Role
		spoil func(*testing.T, string)
		want  []string
	}{
		"no genesis":         {app.RoleFull, remove("genesis.json"), []string{"no genesis file at ", "genesis.json: run 'tandem init'"}},
		"genesis is no JSON": {app.RoleFull, write("genesis.json", "{"), []string{"genesis"}},
		"genesis lacks keys": {app.RoleFull, write("genesis.json", "{}"), []string{"genesis"}},
		"node key is no key": {app.RoleFull, write("node_key.json", "{}"), []string{"node_key.json"}},
		"no signer key":      {app.RoleSequencer, remove("signer.json"), []string{"no signer key at ", "signer.json: a sequencer needs"}},
		"signer is no key":   {app.RoleSequencer, write("signer.json", "{"), []string{"signer.json"}},
		"wrong passphrase":   {app.RoleSequencer, write("passphrase", "simsim"), []string{"wrong passphrase"}},
		"empty passphrase":   {app.RoleSequencer, write("passphrase", " \n"), []string{"signer.passphrase_file", "empty"}},
		"no passphrase file": {app.RoleSequencer, remove("passphrase"), []string{"signer.passphrase_file", "no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(homes[tc.role])))
			tc.spoil(t, dir)
			_, err := prepare(t, dir)
			require.Error(t, err)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// Followers have no signer key and are not asked for one.
func TestFollowerNeedsNoPassphrase(t *testing.T) {
	dir := madeHome(t, app.RoleFull)
	require.NoError(t, os.Remove(filepath.Join(dir, "config", "passphrase")))
	_, err := prepare(t, dir)
	require.NoError(t, err)
}

// Without file, variable and terminal there is nobody to ask.
func TestNoWayToPassAPassphrase(t *testing.T) {
	dir := madeHome(t, app.RoleSequencer)
	t.Setenv(signer.EnvPassphrase, "sesame")
	c := app.Default()
	c.Role = app.RoleSequencer.Name()
	p := app.PrepareParams{Home: dir, Version: "test", Config: c, LogTo: io.Discard, Prompt: io.Discard}
	_, err := app.Prepare(t.Context(), p)
	require.NoError(t, err, "the variable will do")
	require.NoError(t, os.Unsetenv(signer.EnvPassphrase))
	_, err = app.Prepare(t.Context(), p)
	require.ErrorIs(t, err, signer.ErrNoPassphrase)
}

func TestUnknownRole(t *testing.T) {
	c := app.Default()
	c.Role = "king"
	_, err := app.Prepare(t.Context(), app.PrepareParams{Home: t.TempDir(), Config: c, LogTo: io.Discard})
	require.EqualError(t, err, `role is "king", want one of full, light, sequencer`)
}

// The log goes where it was told to, in the configured form, and says which role
// a trace is of.
func TestPrepareMakesTheLog(t *testing.T) {
	dir := madeHome(t, app.RoleLight)
	c := app.Default()
	c.Role, c.Log.Format = "light", "json"
	var out bytes.Buffer
	s, err := app.Prepare(t.Context(), app.PrepareParams{Home: dir, Config: c, LogTo: &out})
	require.NoError(t, err)
	s.Log.Info("said")
	s.Log.Debug("not said")
	require.Contains(t, out.String(), `"msg":"said"`)
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
}

// TestNodesOfOneRoleDifferInTraces: without a name of its own a node is its role
// and the end of its id.
func TestNodesOfOneRoleDifferInTraces(t *testing.T) {
	one, err := prepare(t, madeHome(t, app.RoleFull))
	require.NoError(t, err)
	other, err := prepare(t, madeHome(t, app.RoleFull))
	require.NoError(t, err)
	require.Regexp(t, `^full-[1-9A-Za-z]{6}$`, one.Config.Tracing.InstanceID)
	require.NotEqual(t, one.Config.Tracing.InstanceID, other.Config.Tracing.InstanceID)
}

// TestCheckNamesOwnPeer: a static peer that is the node itself is named before start.
func TestCheckNamesOwnPeer(t *testing.T) {
	dir := madeHome(t, allRoles()[1])
	s, err := prepare(t, dir)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(s.NodeKey)
	require.NoError(t, err)
	loaded, err := app.Load(app.Sources{Home: dir})
	require.NoError(t, err)
	c := loaded.Config.In(dir)
	_, err = app.CheckHome(c)
	require.NoError(t, err)
	c.P2P.Peers = []string{"/ip4/192.0.2.1/tcp/1/p2p/" + id.String()}
	_, err = app.CheckHome(c)
	require.ErrorContains(t, err, c.P2P.Peers[0])
}
