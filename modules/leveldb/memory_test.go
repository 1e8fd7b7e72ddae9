package leveldb_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// What the database keeps in memory does not grow with what is written to it:
// write buffers, tables being made of them, and the cache.
func TestMemoryDoesNotGrowWithTheDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("writes for long, from one goroutine")
	}
	cfg := leveldb.Default()
	cfg.Path = config(t).Path
	db := leveldb.New(cfg)
	opened(t, db)
	const (
		records, size, batch = 400_000, 120, 500 // some 60 MB
		most                 = 16 << 20
	)
	before := inUse()
	random := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, size)
	var key [18]byte
	var b leveldb.Batch
	peak := uint64(0)
	for at := 0; at < records; at += batch {
		b.Reset()
		for range batch {
			for i := range key {
				key[i] = byte(random.Uint32())
			}
			for i := range value {
				value[i] = byte(random.Uint32())
			}
			b.Put(key[:], value)
		}
		require.NoError(t, db.Write(&b, false))
		_, err := db.Has(value[:18]) // fills the cache
		require.NoError(t, err)
		if at%(records/8) == 0 {
			peak = max(peak, inUse())
		}
	}
	t.Logf("from %d to at most %d bytes", before, peak)
	require.Less(t, peak, before+most)
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
