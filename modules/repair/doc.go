// Package repair works on the databases of a node that does not run: it rolls the
// chain and the executor back together, finds out what keeps a home from starting,
// and mends it.
//
// It holds the locks that a running node holds. It never changes keys, the genesis
// file, the config or what the signer remembers (docs/adr/026-repair.md).
package repair
