// Package leveldb opens the node's goleveldb with options that suit a chain and
// hands out namespaced views of it.
//
// One *DB is one directory, held by one process. Writes are atomic per Batch;
// a batch written with sync has reached the disk when Write returns, and so has
// everything written before it. After a write has failed the database refuses
// all further writes until it is opened again: a journal in an unknown state is
// not built upon.
//
// It does not repair: a damaged database is an error that names the directory.
// What a killed process was in the middle of writing is not damage.
package leveldb
