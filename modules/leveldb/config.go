package leveldb

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// Config says where the database is and how much memory it may use.
type Config struct {
	// Path is the directory; it is made when missing.
	Path string `koanf:"path"`
	// CacheBytes bounds the cache of table blocks.
	CacheBytes int `koanf:"cache_bytes"`
	// WriteBufferBytes is how much is written before a table is made of it. Up
	// to three such buffers are in memory, and the tables made of them.
	WriteBufferBytes int `koanf:"write_buffer_bytes"`
	// OpenFiles is how many table files are kept open.
	OpenFiles int `koanf:"open_files"`
}

// Default returns the configuration for every role.
func Default() Config {
	return Config{
		Path: "data/chain.db", CacheBytes: 8 * opt.MiB, WriteBufferBytes: 4 * opt.MiB, OpenFiles: 256,
	}
}

// Validate names the first key that cannot be used.
func (c Config) Validate() error {
	switch {
	case c.Path == "":
		return errors.New("path is empty, want a directory")
	case c.CacheBytes < 0:
		return fmt.Errorf("cache_bytes is %d, want 0 or more", c.CacheBytes)
	case c.WriteBufferBytes < 64*opt.KiB:
		return fmt.Errorf("write_buffer_bytes is %d, want at least %d", c.WriteBufferBytes, 64*opt.KiB)
	case c.OpenFiles < 16:
		return fmt.Errorf("open_files is %d, want at least 16", c.OpenFiles)
	}
	return nil
}

// memoryConfig keeps a database in memory small: tests run many.
func memoryConfig() Config {
	return Config{CacheBytes: 1 * opt.MiB, WriteBufferBytes: 1 * opt.MiB, OpenFiles: 16}
}

// Options returns what goleveldb is opened with. They are tuned for little
// memory: heights are written in order, hashes at random, and both are read by
// key.
//
// Buffers and tables are small; what would make the database merge the first
// level sooner and more often is made up for by more tables in it. A pool of
// buffers lends those of whole tables to what needs a few kilobytes, and the
// cache keeps them, so there is none. Blocks of 16 KiB make a quarter of the index.
func (c Config) Options() *opt.Options {
	const (
		bloomBits  = 10
		firstLevel = 12 // tables in it that are merged as one; goleveldb's default is 4
	)
	return &opt.Options{
		BlockCacheCapacity:     max(c.CacheBytes, 1), // 0 would mean goleveldb's default
		BlockSize:              16 * opt.KiB,
		WriteBuffer:            c.WriteBufferBytes,
		CompactionTableSize:    4 * opt.MiB,
		CompactionTotalSize:    64 * opt.MiB,
		CompactionL0Trigger:    firstLevel,
		WriteL0SlowdownTrigger: 2 * firstLevel,
		WriteL0PauseTrigger:    3 * firstLevel,
		DisableBufferPool:      true,
		OpenFilesCacheCapacity: c.OpenFiles,
		DisableSeeksCompaction: true,
		// Batches larger than the write buffer go through the journal like all
		// others. The other way around it keeps a lock when it fails.
		DisableLargeBatchTransaction: true,
		Filter:                       filter.NewBloomFilter(bloomBits),
	}
}
