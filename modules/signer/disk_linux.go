package signer

import (
	"bytes"
	"os"
	"syscall"

	"github.com/tandem-node/tandem/modules/block"
)

// writeThrough opens a file so that a write returns once the disk has it. It takes
// one system call where a write and fdatasync take two, and costs a block made in
// parallel with another fsync half as much.
const writeThrough = syscall.O_DSYNC

// flush does what writeThrough leaves to do after a write.
func flush(*os.File) error { return nil }

// bootID names this run of the machine; zero when it has no name.
func bootID() block.Hash {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return block.Hash{}
	}
	return block.Sum(b)
}
