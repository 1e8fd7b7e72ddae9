//go:build unix

package signer

import (
	"os"
	"syscall"
)

// lock keeps other processes, and other guards of this one, from using the file
// until it is closed.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:wrapcheck // the caller names the file
}
