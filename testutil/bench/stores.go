package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	goheader "github.com/celestiaorg/go-header/store"
	ds "github.com/ipfs/go-datastore"
	dsleveldb "github.com/ipfs/go-ds-leveldb"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// shop is one way to keep headers on disk.
type shop struct {
	name   string
	append func(hs ...*block.SignedHeader) error
	get    func(height uint64) error
	rng    func(from, to uint64) error
	close  func() error
}

// measureStores holds the header store beside the bare database with the same
// records, and beside go-header's store on the same database.
func measureStores(ctx context.Context, s *session) error {
	_, chain, err := blocks(ctx, chainSpec{Blocks: pick(s, 50_000, 5000), Executor: noop})
	if err != nil {
		return err
	}
	headers := make([]*block.SignedHeader, len(chain))
	for i, b := range chain {
		headers[i] = b.Header
	}
	for _, open := range []func(context.Context, string) (shop, error){tandemShop, bareShop, goHeaderShop} {
		for range s.runs {
			if err := s.shopping(ctx, open, headers); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) shopping(ctx context.Context, open func(context.Context, string) (shop, error), headers []*block.SignedHeader) error {
	const single = 2000 // appended one by one
	x, err := open(ctx, s.newHome())
	if err != nil {
		return err
	}
	one := headers[:min(single, len(headers)/2)]
	rest := headers[len(one):]
	for _, part := range []struct {
		name  string
		items []*block.SignedHeader
		batch int
	}{{"append 1 at a time", one, 1}, {"append 64 at a time", rest[:len(rest)/2], 64}, {"append 512 at a time", rest[len(rest)/2:], 512}} {
		wall, cpu, err := timed(func() error {
			for from := 0; from < len(part.items); from += part.batch {
				if err := x.append(part.items[from:min(from+part.batch, len(part.items))]...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", x.name, err), x.close())
		}
		s.perHeader(x.name, part.name, wall/float64(len(part.items)), cpu)
	}
	return errors.Join(s.browse(x, len(headers)), x.close())
}

// browse reads ranges and single headers at random.
func (s *session) browse(x shop, n int) error {
	const width = 64
	reads := pick(s, 2000, 100)
	wall, cpu, err := timed(func() error {
		for range reads {
			from := 1 + rand.Uint64N(uint64(n-width)) //nolint:gosec // no secret, no overflow
			if err := x.rng(from, from+width); err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.perHeader(x.name, "read ranges of 64", wall/float64(reads*width), cpu)
	wall, cpu, err = timed(func() error {
		for range reads {
			if err := x.get(1 + rand.Uint64N(uint64(n))); err != nil { //nolint:gosec // no secret, no overflow
				return fmt.Errorf("%s: %w", x.name, err)
			}
		}
		return nil
	})
	s.perHeader(x.name, "read one by height", wall/float64(reads), cpu)
	return err
}

func (s *session) perHeader(shop, what string, seconds, cpu float64) {
	const micro = 1e6
	s.add(report.Figure{Key: "store/" + what + "/" + shop, Name: what + ", " + shop, Unit: "µs/header"}, seconds*micro, cpu)
}

func openDB(path string) (*leveldb.DB, error) {
	cfg := leveldb.Default()
	cfg.Path = path
	db := leveldb.New(cfg)
	if err := db.Open(); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	return db, nil
}

func tandemShop(ctx context.Context, path string) (shop, error) {
	db, err := openDB(path)
	if err != nil {
		return shop{}, err
	}
	store := chainstore.New(db, chainstore.Config{MaxRangeBytes: chainstore.Default().MaxRangeBytes}, zap.NewNop()) // reads come from disk
	if err := store.Open(ctx); err != nil {
		return shop{}, errors.Join(err, db.Close())
	}
	c := store.Headers()
	return shop{
		name: "store", close: db.Close,
		append: func(hs ...*block.SignedHeader) error { return c.Append(ctx, hs...) },
		get:    func(height uint64) error { _, err := c.GetByHeight(ctx, height); return err },
		rng:    func(from, to uint64) error { _, err := c.GetRange(ctx, from, to); return err },
	}, nil
}

// recordKey is the key of a record of the bare database: of the same length as
// the store's.
func recordKey(kind byte, rest []byte) []byte { return append([]byte{'c', kind}, rest...) }

func heightBytes(height uint64) []byte { return binary.BigEndian.AppendUint64(nil, height) }

// bareShop writes the records of the store without a store around them, and
// decodes what it reads.
func bareShop(_ context.Context, path string) (shop, error) {
	const hashBytes = 16
	db, err := openDB(path)
	if err != nil {
		return shop{}, err
	}
	var batch leveldb.Batch
	decode := func(v []byte, err error) error {
		if err == nil {
			_, err = block.DecodeSignedHeader(v)
		}
		return err //nolint:wrapcheck // names itself
	}
	return shop{
		name: "bare goleveldb", close: db.Close,
		append: func(hs ...*block.SignedHeader) error {
			batch.Reset()
			for _, h := range hs {
				body, hash := h.Encode(), h.Digest()
				alias, height := block.Sum(body), heightBytes(h.Height())
				batch.Put(recordKey('h', height), body)
				batch.Put(recordKey('H', hash[:hashBytes]), height)
				batch.Put(recordKey('H', alias[:hashBytes]), height)
			}
			return db.Write(&batch, false)
		},
		get: func(height uint64) error { return decode(db.Get(recordKey('h', heightBytes(height)))) },
		rng: func(from, to uint64) error {
			it := db.NewIterator(recordKey('h', heightBytes(from)), recordKey('h', heightBytes(to)))
			defer it.Close()
			for it.Next() {
				if err := decode(it.Value(), nil); err != nil {
					return err
				}
			}
			return it.Err()
		},
	}, nil
}

// plain hides the transactions of a datastore, which go-header would open for
// every read.
type plain struct{ ds.Batching }

func goHeaderShop(ctx context.Context, path string) (shop, error) {
	const batch = 64
	options := dsleveldb.Options(*leveldb.Default().Options())
	options.NoSync = true
	d, err := dsleveldb.NewDatastore(path, &options)
	if err != nil {
		return shop{}, fmt.Errorf("go-header: %w", err)
	}
	store, err := goheader.NewStore[*block.SignedHeader](plain{d}, goheader.WithWriteBatchSize(batch))
	if err != nil {
		return shop{}, errors.Join(fmt.Errorf("go-header: %w", err), d.Close())
	}
	if err := store.Start(ctx); err != nil {
		return shop{}, errors.Join(fmt.Errorf("go-header: %w", err), d.Close())
	}
	return shop{
		name:  "go-header store",
		close: func() error { return errors.Join(store.Stop(context.WithoutCancel(ctx)), d.Close()) },
		append: func(hs ...*block.SignedHeader) error {
			if err := store.Append(ctx, hs...); err != nil {
				return err //nolint:wrapcheck // names itself
			}
			return store.Sync(ctx) //nolint:wrapcheck // visible, as with the others
		},
		get: func(height uint64) error { _, err := store.GetByHeight(ctx, height); return err },
		rng: func(from, to uint64) error { _, err := store.GetRange(ctx, from, to); return err },
	}, nil
}
