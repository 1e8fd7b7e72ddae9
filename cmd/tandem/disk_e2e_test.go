//go:build e2e && linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// smallDisk puts a file system of its own below a directory of a home.
func smallDisk(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(path, 0o700))
	if err := syscall.Mount("none", path, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("a file system that can be filled needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
}

// fill takes all the room that is left and returns the file that has it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	_, err = io.Copy(f, bytes.NewReader(make([]byte, 256<<20)))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	return f.Name()
}

// TestFullDisk: a follower whose disk is full says so, fails liveness, logs little,
// and ends by itself once there is room. Started again it goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mayFail = []string{"a write failed, the database refuses writes until it is opened again", "worker failed, the node stops"}
	da := w.newDA()
	da.start()
	seq := w.sequencer()
	seq.start()
	full := w.follower("full", seq.viaP2P(), da.viaDA())
	data := filepath.Join(full.home, "data")
	smallDisk(t, data)
	full.start()
	full.applies(3)
	ballast := fill(t, data)
	for i := range 20 { // more than a page of its own holds
		seq.send(fmt.Sprintf("large%d", i), strings.Repeat("x", 60_000))
	}
	eventually(t, patience, func() (bool, string) {
		s := full.status()
		for _, p := range s.Problems {
			if p.Kind == string(problems.Disk) {
				return full.get("/health/live") == nil && full.get("/health/ready") == nil, "a node that cannot write is neither live nor ready"
			}
		}
		return false, "the full disk is not in the status: " + brief(s)
	})
	before, _ := full.printed(0)
	seq.grows(40) // ten seconds
	after, _ := full.printed(0)
	require.Less(t, len(after)-len(before), 20, "log lines while nothing changes:\n%s", full.tail(20))
	require.NoError(t, os.Remove(ballast))
	require.Equal(t, exitFailed, full.wait(t, patience), "it ends when there is room")
	full.await(t, "takes writes again", "start the node again")
	full.start()
	full.applies(seq.status().Heads.Applied)
	agree(t, seq, full)
}
