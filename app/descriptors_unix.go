//go:build unix

package app

import "syscall"

// openFiles returns how many files this process may open; 0 when that is not
// known. The Go runtime has raised the soft limit to the hard one at the start.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}
