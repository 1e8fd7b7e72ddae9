// Package chainstore keeps a chain on one goleveldb: headers and data, each as
// a go-header store, and the states, DA marks and cursors that belong to them.
//
// A write is visible when the call that made it returns, to Height and to every
// read, and only after the database took it. A failed write changes nothing.
// Each Append and each Commit is one database batch: after a crash at any
// instruction it is there as a whole or not at all, and everything written
// before it is there too. Reads never wait for a write.
//
// Items are kept as they were given: the store checks that a height holds one
// item, not signatures or links. Callers append what they have checked, so what
// is read back counts as checked.
package chainstore
