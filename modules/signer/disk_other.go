//go:build !linux

package signer

import (
	"os"

	"github.com/tandem-node/tandem/modules/block"
)

// writeThrough is only for systems where it reaches the disk.
const writeThrough = 0

// flush waits until what was written is on the disk.
func flush(f *os.File) error { return f.Sync() }

// bootID names this run of the machine; zero when it has no name.
func bootID() block.Hash { return block.Hash{} }
