// Package durable makes files and directories that survive a power cut. A file is
// on the disk once its content and its entry in the directory were synced; the
// standard library syncs neither.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncDir makes the entries of a directory durable: files that were created,
// renamed or removed in it.
func SyncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // the caller names the directory
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}

// MkdirAll is os.MkdirAll, and the entries of the directories it makes are durable.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	switch _, err := os.Stat(path); {
	case err == nil:
		return os.MkdirAll(path, perm) // an error when it is no directory
	case !errors.Is(err, fs.ErrNotExist):
		return err //nolint:wrapcheck // names the path
	}
	parent := filepath.Dir(path)
	if err := MkdirAll(parent, perm); err != nil {
		return err
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err //nolint:wrapcheck // names the path
	}
	return SyncDir(parent)
}

// WriteFile replaces a file, or makes it. After a power cut the file has the old
// content or the new one, and when WriteFile has returned, the new one.
func WriteFile(path string, content []byte, perm fs.FileMode) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm) //nolint:gosec // the caller names the file
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return err //nolint:wrapcheck // names the paths
	}
	return SyncDir(filepath.Dir(path))
}
