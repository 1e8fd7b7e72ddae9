package da

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// Key prefixes of the local DA chain. Heights are big-endian, so keys sort by height.
const (
	keyMeta    = 'm' // -> head, tail, spent
	keySegment = 's' // height -> time, interval of the blocks from there on
	keyDigest  = 'd' // height -> what the header says of the blobs; absent for empty blocks
	keyBlob    = 'b' // height, namespace, number in the block -> stored blob
)

// Tuning: one small write per block, and now and then one of many megabytes.
const (
	storeBuffer     = 16 << 20
	storeCache      = 8 << 20
	storeFiles      = 64
	storeBloomBits  = 10
	pruneBatchKeys  = 1000
	word            = 8
	metaSize        = 3 * word
	segmentSize     = 2 * word
	blobFixedSize   = 2 + 4 + len(Commitment{})
	digestStoreSize = 2*NamespaceSize + len(Commitment{})
)

// openStore opens the chain's database; an empty dir keeps it in memory.
func openStore(dir string) (*leveldb.DB, error) {
	o := &opt.Options{
		WriteBuffer:            storeBuffer,
		BlockCacheCapacity:     storeCache,
		OpenFilesCacheCapacity: storeFiles,
		CompactionTableSize:    storeBuffer,
		Compression:            opt.NoCompression,
		DisableSeeksCompaction: true,
		Filter:                 filter.NewBloomFilter(storeBloomBits),
	}
	if dir == "" {
		db, err := leveldb.Open(storage.NewMemStorage(), o)
		if err != nil {
			return nil, fmt.Errorf("open DA store in memory: %w", err)
		}
		return db, nil
	}
	db, err := leveldb.OpenFile(dir, o)
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, storage.ErrLocked):
		return nil, fmt.Errorf("open DA store %s: in use by another process", dir)
	case err != nil:
		return nil, fmt.Errorf("open DA store %s: %w", dir, err)
	}
	return db, nil
}

// meta is what the chain knows of itself.
type meta struct{ head, tail, spent uint64 }

func (m meta) encode() []byte {
	buf := make([]byte, 0, metaSize)
	buf = binary.BigEndian.AppendUint64(buf, m.head)
	buf = binary.BigEndian.AppendUint64(buf, m.tail)
	return binary.BigEndian.AppendUint64(buf, m.spent)
}

func decodeMeta(raw []byte) (meta, error) {
	if len(raw) != metaSize {
		return meta{}, fmt.Errorf("DA store: meta record of %d bytes", len(raw))
	}
	return meta{
		head:  binary.BigEndian.Uint64(raw),
		tail:  binary.BigEndian.Uint64(raw[word:]),
		spent: binary.BigEndian.Uint64(raw[2*word:]),
	}, nil
}

// segment is a run of blocks at a fixed interval: all times of the chain in a
// few numbers, the same after every restart.
type segment struct {
	first    uint64
	start    time.Time
	interval time.Duration
}

func (s segment) at(height uint64) time.Time {
	return s.start.Add(time.Duration(height-s.first) * s.interval) //nolint:gosec // far below 2^63 blocks
}

func (s segment) encode() []byte {
	buf := binary.BigEndian.AppendUint64(make([]byte, 0, segmentSize), uint64(s.start.UnixNano()))
	return binary.BigEndian.AppendUint64(buf, uint64(s.interval)) //nolint:gosec // never negative
}

func loadSegments(db *leveldb.DB) ([]segment, error) {
	it := db.NewIterator(util.BytesPrefix([]byte{keySegment}), nil)
	defer it.Release()
	var out []segment
	for it.Next() {
		key, value := it.Key(), it.Value()
		if len(key) != 1+word || len(value) != segmentSize {
			return nil, errors.New("DA store: malformed time record")
		}
		out = append(out, segment{
			first:    binary.BigEndian.Uint64(key[1:]),
			start:    time.Unix(0, int64(binary.BigEndian.Uint64(value))).UTC(), //nolint:gosec // bits, not a quantity
			interval: time.Duration(binary.BigEndian.Uint64(value[word:])),      //nolint:gosec // written from a duration
		})
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("DA store: read times: %w", err)
	}
	return out, nil
}

func heightKey(prefix byte, height uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, height)
}

// ledgerBlob is a blob of the local chain.
type ledgerBlob struct {
	Blob
	version uint8
	signer  []byte
	index   uint32
}

// put adds the blob to a batch; seq is its number within the block.
func (b *ledgerBlob) put(batch *leveldb.Batch, height uint64, seq int) {
	key := append(heightKey(keyBlob, height), b.Namespace[:]...)
	key = binary.BigEndian.AppendUint32(key, uint32(seq)) //nolint:gosec // bounded by the block size
	value := make([]byte, 0, blobFixedSize+len(b.signer)+len(b.Data))
	value = append(value, b.version, byte(len(b.signer))) //nolint:gosec // 0 or 20
	value = binary.BigEndian.AppendUint32(value, b.index)
	value = append(value, b.Commitment[:]...)
	value = append(value, b.signer...)
	value = append(value, b.Data...)
	batch.Put(key, value)
}

// decodeLedgerBlob copies a stored blob out of the database's memory.
func decodeLedgerBlob(ns Namespace, raw []byte) (*ledgerBlob, error) {
	if len(raw) < blobFixedSize || len(raw) < blobFixedSize+int(raw[1]) {
		return nil, errors.New("DA store: malformed blob record")
	}
	signerSize := int(raw[1])
	b := &ledgerBlob{version: raw[0], index: binary.BigEndian.Uint32(raw[2:])}
	b.Namespace = ns
	b.Commitment = Commitment(raw[6:blobFixedSize])
	rest := slices.Clone(raw[blobFixedSize:])
	if signerSize > 0 {
		b.signer = rest[:signerSize:signerSize]
	}
	b.Data = rest[signerSize:]
	return b, nil
}

// blobIterator walks the blobs of one namespace at a height.
func blobIterator(db *leveldb.DB, height uint64, ns Namespace) iterator.Iterator {
	return db.NewIterator(util.BytesPrefix(append(heightKey(keyBlob, height), ns[:]...)), nil)
}

// storedCommitment reads the commitment of a blob record without copying it.
func storedCommitment(raw []byte) Commitment {
	if len(raw) < blobFixedSize {
		return Commitment{}
	}
	return Commitment(raw[6:blobFixedSize])
}

// deleteBelow removes blobs and digests below a height, some at a time.
func deleteBelow(db *leveldb.DB, height uint64) error {
	for _, prefix := range []byte{keyBlob, keyDigest} {
		if err := deleteRange(db, &util.Range{Start: []byte{prefix}, Limit: heightKey(prefix, height)}); err != nil {
			return err
		}
	}
	return nil
}

func deleteRange(db *leveldb.DB, r *util.Range) error {
	it := db.NewIterator(r, nil)
	defer it.Release()
	batch := new(leveldb.Batch)
	for it.Next() {
		batch.Delete(it.Key())
		if batch.Len() < pruneBatchKeys {
			continue
		}
		if err := db.Write(batch, nil); err != nil {
			return fmt.Errorf("DA store: prune: %w", err)
		}
		batch.Reset()
	}
	if err := errors.Join(it.Error(), db.Write(batch, nil)); err != nil {
		return fmt.Errorf("DA store: prune: %w", err)
	}
	return nil
}
