package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/internal/durable"
)

func TestWriteFileReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"first, and longer", "second"} {
		require.NoError(t, durable.WriteFile(path, []byte(content), 0o640))
		have, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(have))
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left beside it")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
}

func TestWriteFileThatFailsKeepsTheOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, durable.WriteFile(path, []byte("old"), 0o600))
	require.NoError(t, os.Mkdir(path+".tmp", 0o700))
	require.Error(t, durable.WriteFile(path, []byte("new"), 0o600))
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(have))
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		require.NoError(t, durable.MkdirAll(path, 0o750))
		require.DirExists(t, path)
	}
	require.NoError(t, durable.MkdirAll(path+"/", 0o750))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Error(t, durable.MkdirAll(file, 0o750))
	require.Error(t, durable.MkdirAll(filepath.Join(file, "below"), 0o750))
	t.Chdir(dir)
	require.NoError(t, durable.MkdirAll("x/y", 0o750))
	require.DirExists(t, filepath.Join(dir, "x", "y"))
	require.Error(t, durable.SyncDir(filepath.Join(dir, "missing")))
}
