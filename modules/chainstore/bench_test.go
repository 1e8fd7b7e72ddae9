package chainstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	header "github.com/celestiaorg/go-header"
	goheader "github.com/celestiaorg/go-header/store"
	ds "github.com/ipfs/go-datastore"
	dsleveldb "github.com/ipfs/go-ds-leveldb"
	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

// subject is one way to store headers. The others are what the store is held
// against: the bare database with the same records, and go-header's store, which
// writes to disk in the background.
type subject struct {
	append func(hs ...*block.SignedHeader) error
	get    func(height uint64) error
	rng    func(from, to uint64) error
	flush  func()
}

func subjects() []func(b *testing.B) subject {
	return []func(b *testing.B) subject{ours, bare, goHeader}
}

var names = []string{"store", "bare", "go-header"}

func diskDB(b *testing.B, path string) *leveldb.DB {
	b.Helper()
	cfg := leveldb.Default()
	cfg.Path = path
	db := leveldb.New(cfg)
	require.NoError(b, db.Open())
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	return db
}

func ours(b *testing.B) subject {
	b.Helper()
	s := New(diskDB(b, b.TempDir()), Default(), zap.NewNop())
	require.NoError(b, s.Open(b.Context()))
	ctx := b.Context()
	c := s.Headers()
	return subject{
		append: func(hs ...*block.SignedHeader) error { return c.Append(ctx, hs...) },
		get:    func(h uint64) error { _, err := c.GetByHeight(ctx, h); return err },
		rng: func(from, to uint64) error {
			got, err := c.GetRange(ctx, from, to)
			if err == nil && uint64(len(got)) != to-from {
				err = fmt.Errorf("got %d of %d", len(got), to-from)
			}
			return err
		},
		flush: func() { c.recent.reset() }, // reads come from the database
	}
}

// bare writes the same records without a store around them, and decodes what it
// reads.
func bare(b *testing.B) subject {
	b.Helper()
	db := diskDB(b, b.TempDir())
	var batch leveldb.Batch
	return subject{
		append: func(hs ...*block.SignedHeader) error {
			batch.Reset()
			for _, h := range hs {
				enc := h.Encode()
				height := encodeHeight(h.Height())
				body, index, alias := keyAt(nsHeader, h.Height()), keyOf(nsHeaderIndex, h.Digest()), keyOf(nsHeaderIndex, block.Sum(enc))
				batch.Put(body[:], enc)
				batch.Put(index[:], height[:])
				batch.Put(alias[:], height[:])
			}
			batch.Put(keyNamed(nsMark, markHeaders), make([]byte, spanSize))
			return db.Write(&batch, false)
		},
		get: func(h uint64) error {
			key := keyAt(nsHeader, h)
			v, err := db.Get(key[:])
			if err == nil {
				_, err = block.DecodeSignedHeader(v)
			}
			return err
		},
		rng: func(from, to uint64) error {
			start, limit := keyAt(nsHeader, from), keyAt(nsHeader, to)
			it := db.NewIterator(start[:], limit[:])
			defer it.Close()
			for it.Next() {
				if _, err := block.DecodeSignedHeader(it.Value()); err != nil {
					return err
				}
			}
			return it.Err()
		},
		flush: func() {},
	}
}

// withoutTxn hides the transactions of the datastore, which go-header would
// open for every read.
type withoutTxn struct{ ds.Batching }

func goHeader(b *testing.B) subject {
	b.Helper()
	path := b.TempDir()
	d, err := dsleveldb.NewDatastore(path, &dsleveldb.Options{
		NoSync: true, WriteBuffer: 16 * opt.MiB, BlockCacheCapacity: 32 * opt.MiB, OpenFilesCacheCapacity: 256,
		Filter: filter.NewBloomFilter(10),
	})
	require.NoError(b, err)
	s, err := goheader.NewStore[*block.SignedHeader](withoutTxn{d}, goheader.WithWriteBatchSize(64))
	require.NoError(b, err)
	require.NoError(b, s.Start(b.Context()))
	ctx := context.WithoutCancel(b.Context())
	b.Cleanup(func() {
		require.NoError(b, s.Stop(ctx))
		require.NoError(b, d.Close())
	})
	return subject{
		append: func(hs ...*block.SignedHeader) error {
			if err := s.Append(ctx, hs...); err != nil {
				return err
			}
			return s.Sync(ctx) // visible, as it is after Append of the others
		},
		get:   func(h uint64) error { _, err := s.GetByHeight(ctx, h); return err },
		rng:   func(from, to uint64) error { _, err := s.GetRange(ctx, from, to); return err },
		flush: func() {},
	}
}

// linked returns headers that are linked by hash, which go-header's ranges need.
func linked(n int) []*block.SignedHeader {
	out := make([]*block.SignedHeader, n)
	var last header.Hash
	for i := range out {
		h := plainHeader(uint64(i) + 1)
		h.Header.LastHeaderHash = last
		out[i] = block.NewSignedHeader(h.Header, h.Signature, h.Signer)
		last = out[i].Hash()
	}
	return out
}

func report(b *testing.B, headers int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(headers), "ns/header")
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 64, 512} {
		for i, open := range subjects() {
			b.Run(fmt.Sprintf("%s/batch=%d", names[i], size), func(b *testing.B) {
				s := open(b)
				hs := linked(b.N * size)
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					if err := s.append(hs[i*size : (i+1)*size]...); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				report(b, b.N*size)
			})
		}
	}
}

// BenchmarkAppendSynced is the cost of an fsync for each header, as a sequencer
// pays it.
func BenchmarkAppendSynced(b *testing.B) {
	cfg := Default()
	cfg.Sync = true
	s := New(diskDB(b, b.TempDir()), cfg, zap.NewNop())
	require.NoError(b, s.Open(b.Context()))
	hs := linked(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for _, h := range hs {
		if err := s.Headers().Append(b.Context(), h); err != nil {
			b.Fatal(err)
		}
	}
}

const readHeaders = 50_000

func filledSubject(b *testing.B, open func(b *testing.B) subject) subject {
	b.Helper()
	s := open(b)
	hs := linked(readHeaders)
	for i := 0; i < len(hs); i += 500 {
		require.NoError(b, s.append(hs[i:i+500]...))
	}
	s.flush()
	return s
}

func BenchmarkGetRange64(b *testing.B) {
	for i, open := range subjects() {
		b.Run(names[i], func(b *testing.B) {
			s := filledSubject(b, open)
			b.ResetTimer()
			b.ReportAllocs()
			for range b.N {
				from := 1 + rand.Uint64N(readHeaders-64)
				if err := s.rng(from, from+64); err != nil {
					b.Fatal(err)
				}
			}
			report(b, b.N*64)
		})
	}
}

func BenchmarkGetRange64Recent(b *testing.B) {
	s := New(diskDB(b, b.TempDir()), Default(), zap.NewNop())
	require.NoError(b, s.Open(b.Context()))
	require.NoError(b, s.Headers().Append(b.Context(), linked(1000)...))
	b.ReportAllocs()
	for range b.N {
		if _, err := s.Headers().GetRange(b.Context(), 900, 964); err != nil {
			b.Fatal(err)
		}
	}
	report(b, b.N*64)
}

func BenchmarkGetByHeight(b *testing.B) {
	for i, open := range subjects() {
		b.Run(names[i], func(b *testing.B) {
			s := filledSubject(b, open)
			b.ResetTimer()
			b.ReportAllocs()
			for range b.N {
				if err := s.get(1 + rand.Uint64N(readHeaders)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFollow is a full node far behind: headers and data appended and read
// back in ranges, states committed.
func BenchmarkFollow(b *testing.B) {
	const group = 256
	s := New(diskDB(b, b.TempDir()), Default(), zap.NewNop())
	ctx := b.Context()
	require.NoError(b, s.Open(ctx))
	g := block.Genesis{ChainID: "chain", InitialHeight: 1}
	st := block.GenesisState(g, nil)
	require.NoError(b, s.SaveGenesis(ctx, g, st))
	hs, ds := linked(b.N*group), plainData(1, uint64(b.N*group))
	states := make([]block.State, 0, group)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		from, to := uint64(i*group+1), uint64((i+1)*group+1)
		require.NoError(b, s.Headers().Append(ctx, hs[from-1:to-1]...))
		require.NoError(b, s.Data().Append(ctx, ds[from-1:to-1]...))
		got, err := s.Headers().GetRange(ctx, from, to)
		require.NoError(b, err)
		_, err = s.Data().GetRange(ctx, from, to)
		require.NoError(b, err)
		states = states[:0]
		for _, h := range got {
			st = st.Next(h, block.ExecResult{StateRoot: h.Hash()})
			states = append(states, st)
		}
		require.NoError(b, s.Commit(ctx, block.Batch{States: states}))
	}
	b.StopTimer()
	report(b, b.N*group)
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []uint64{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("blocks=%d", n), func(b *testing.B) {
			path := b.TempDir()
			db := leveldb.New(func() leveldb.Config { c := leveldb.Default(); c.Path = path; return c }())
			require.NoError(b, db.Open())
			s := New(db, Default(), zap.NewNop())
			require.NoError(b, s.Open(b.Context()))
			for from := uint64(1); from <= n; from += 1000 {
				require.NoError(b, s.Headers().Append(b.Context(), plainHeaders(from, 1000)...))
				require.NoError(b, s.Data().Append(b.Context(), plainData(from, 1000)...))
			}
			require.NoError(b, db.Close())
			b.ResetTimer()
			for range b.N {
				require.NoError(b, db.Open())
				s := New(db, Default(), zap.NewNop())
				require.NoError(b, s.Open(b.Context()))
				b.StopTimer()
				require.Equal(b, n, s.Data().Height())
				require.NoError(b, db.Close())
				b.StartTimer()
			}
		})
	}
}

func BenchmarkIndexKey(b *testing.B) {
	hash := block.Sum(binary.BigEndian.AppendUint64(nil, 1))
	b.ReportAllocs()
	var batch leveldb.Batch
	for range b.N {
		key := keyOf(nsHeaderIndex, hash)
		batch.Put(key[:], nil)
		if batch.Len() > 1000 {
			batch.Reset()
		}
	}
}
