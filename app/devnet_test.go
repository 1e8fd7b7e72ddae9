package app_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/testutil"
)

func startDevnet(t *testing.T, dir string) *app.Devnet {
	t.Helper()
	d, err := app.StartDevnet(t.Context(), app.DevnetParams{
		Dir: dir, Version: "test", BlockTime: blockTime, DATime: daTime, LogTo: io.Discard, LogLevel: "error",
	})
	require.NoError(t, err)
	return d
}

// awaitFinal waits until every node has height final.
func awaitFinal(t *testing.T, d *app.Devnet, height uint64) {
	t.Helper()
	for _, n := range d.Nodes {
		testutil.AwaitElse(t, soon, n.Pipeline.Changed, func() bool { return n.Pipeline.Snapshot().Final >= height },
			func() string { return n.Name + " waits for " + n.Status(t.Context()).WaitingFor })
	}
}

func stopDevnet(t *testing.T, d *app.Devnet) {
	t.Helper()
	began := time.Now()
	require.NoError(t, d.Stop(context.WithoutCancel(t.Context())))
	testutil.Took(t, "stop", began, stopWithin)
}

// TestDevnet: a chain is made and followed from both sources, all agree, and it
// goes on after a restart.
func TestDevnet(t *testing.T) {
	testutil.Leaks(t)
	dir := t.TempDir()
	d := startDevnet(t, dir)
	failed := d.Failed()
	require.Len(t, d.Nodes, 3)
	require.Equal(t, "sequencer", d.Sequencer().Name)
	awaitFinal(t, d, 3)
	first, err := d.Agree(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, first.Final, uint64(3))
	require.NotEmpty(t, first.Root)
	alone := d.Nodes[2].Status(t.Context())
	require.False(t, alone.P2P.Enabled)
	require.Zero(t, alone.P2P.Peers)
	require.Equal(t, "da", alone.Applied.Source, "it has DA alone")
	stopDevnet(t, d)
	require.Empty(t, failed)

	d = startDevnet(t, dir)
	for _, n := range d.Nodes {
		require.GreaterOrEqual(t, n.Pipeline.Snapshot().Applied(), first.Height, "%s goes on where it was", n.Name)
	}
	awaitFinal(t, d, first.Height+3)
	second, err := d.Agree(t.Context())
	require.NoError(t, err)
	require.Greater(t, second.Height, first.Height)
	old, err := d.Sequencer().Store.StateAt(t.Context(), first.Height)
	require.NoError(t, err)
	require.Equal(t, first.Root, old.AppHash, "the same chain")
	stopDevnet(t, d)
}

// TestDevnetStartsOver: Fresh forgets the chain.
func TestDevnetStartsOver(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "old"), nil, 0o600))
	d, err := app.StartDevnet(t.Context(), app.DevnetParams{
		Dir: dir, Fresh: true, Version: "test", BlockTime: blockTime, DATime: daTime, LogTo: io.Discard, LogLevel: "error",
	})
	require.NoError(t, err)
	stopDevnet(t, d)
	require.NoFileExists(t, filepath.Join(dir, "old"))
}

// A collector that takes connections and never answers neither delays the stop nor
// makes it an error.
func TestDevnetStopsWithCollectorThatHangs(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	d, err := app.StartDevnet(t.Context(), app.DevnetParams{
		Dir: t.TempDir(), Version: "test", BlockTime: blockTime, DATime: daTime, LogTo: io.Discard, LogLevel: "error", Tracing: l.Addr().String(),
	})
	require.NoError(t, err)
	awaitFinal(t, d, 1)
	stopDevnet(t, d)
}

// TestDevnetStopsWhatItStarted when a later part cannot start.
func TestDevnetStopsWhatItStarted(t *testing.T) {
	testutil.Leaks(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "follower"), nil, 0o600)) // a file where a home should be
	_, err := app.StartDevnet(t.Context(), app.DevnetParams{
		Dir: dir, Version: "test", BlockTime: blockTime, DATime: daTime, LogTo: io.Discard, LogLevel: "error",
	})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n")
}
