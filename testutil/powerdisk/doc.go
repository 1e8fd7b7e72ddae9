// Package powerdisk simulates a disk whose power fails at a chosen operation. It
// keeps, of each file, what was synced, and of each directory the entries that
// were there when it was synced; of the rest it keeps nothing, or, in the mode
// Torn, what a real disk may keep: in each file some pages and not others, up to
// some length, and of the changes to a directory the first ones.
//
//	disk := powerdisk.New(seed, powerdisk.Torn)
//	db := leveldb.New(cfg, leveldb.OnDisk(disk))
//	disk.CutAfter(17)        // operations that change something
//	…                        // until disk.Off()
//	disk.Restart()           // db can be opened again on what is left
//
// One Disk holds any number of databases by path. It lives in memory, and all of
// its methods may be called from any goroutine.
package powerdisk
