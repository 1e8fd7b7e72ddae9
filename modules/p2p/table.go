package p2p

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/multiformats/go-base32"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
)

// Limits of what others leave in this node's part of the DHT.
const (
	// tableBytes is for the providers of the chain, and as much for all the rest.
	tableBytes = 4 << 20
	// recordBytes is what a record takes beside its key and value.
	recordBytes = 256
	// providerAddresses is how many addresses of a provider are kept.
	providerAddresses = 16
)

// tableOptions bound what strangers leave in the DHT: its records are kept for up to
// two days, and anybody may leave any.
func tableOptions(chain string) ([]dht.Option, error) {
	t, err := newTable(chain)
	if err != nil {
		return nil, err
	}
	few := func(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs[:min(len(addrs), providerAddresses)] }
	return []dht.Option{dht.Datastore(t), dht.AddressFilter(few)}, nil
}

// table is a datastore in memory. Records give way at random when there is no room,
// those of the chain's own providers to one another alone.
type table struct {
	datastore.Batching

	chain string // what keys of the chain's providers begin with
	limit int    // of either shelf

	mu   sync.Mutex
	own  shelf
	rest shelf
}

type shelf struct {
	sizes map[datastore.Key]int
	bytes int
}

func newTable(chain string) (*table, error) {
	sum, err := multihash.Sum([]byte(chain), multihash.SHA2_256, -1)
	if err != nil {
		return nil, fmt.Errorf("key of the chain in the DHT: %w", err)
	}
	return &table{
		Batching: dssync.MutexWrap(datastore.NewMapDatastore()), limit: tableBytes,
		chain: records.ProvidersKeyPrefix + base32.RawStdEncoding.EncodeToString(sum) + "/",
		own:   shelf{sizes: map[datastore.Key]int{}}, rest: shelf{sizes: map[datastore.Key]int{}},
	}, nil
}

func (t *table) shelf(key datastore.Key) *shelf {
	if strings.HasPrefix(key.String(), t.chain) {
		return &t.own
	}
	return &t.rest
}

// Put implements datastore.Write.
func (t *table) Put(ctx context.Context, key datastore.Key, value []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, size := t.shelf(key), len(key.String())+len(value)+recordBytes
	if size > t.limit {
		return nil // nobody may rely on it
	}
	if err := t.drop(ctx, s, key); err != nil {
		return err
	}
	for victim := range s.sizes { // in random order
		if s.bytes+size <= t.limit {
			break
		}
		if err := t.drop(ctx, s, victim); err != nil {
			return err
		}
	}
	s.sizes[key] = size
	s.bytes += size
	return t.Batching.Put(ctx, key, value) //nolint:wrapcheck // a datastore of the DHT
}

// Delete implements datastore.Write.
func (t *table) Delete(ctx context.Context, key datastore.Key) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.drop(ctx, t.shelf(key), key)
}

// drop forgets a record. The caller holds mu.
func (t *table) drop(ctx context.Context, s *shelf, key datastore.Key) error {
	s.bytes -= s.sizes[key]
	delete(s.sizes, key)
	return t.Batching.Delete(ctx, key) //nolint:wrapcheck // a datastore of the DHT
}

// Batch implements datastore.Batching.
func (t *table) Batch(context.Context) (datastore.Batch, error) {
	return datastore.NewBasicBatch(t), nil
}
