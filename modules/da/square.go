package da

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/celestiaorg/go-square/v3/inclusion"
	"github.com/celestiaorg/go-square/v3/share"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
)

// shareCount is the number of shares a blob takes in the square.
func shareCount(size int, signer bool) int {
	first := share.FirstSparseShareContentSize
	if signer {
		first = share.FirstSparseShareContentSizeWithSigner
	}
	const next = share.ContinuationSparseShareContentSize
	return 1 + (max(0, size-first)+next-1)/next
}

// putBlobs lays the blobs of a block out in DA order, which is by namespace and
// then by arrival, and adds them to the batch.
func putBlobs(batch *leveldb.Batch, height uint64, txs []*ledgerTx) {
	var blobs []*ledgerBlob
	for _, tx := range txs {
		blobs = append(blobs, tx.blobs...)
	}
	if len(blobs) == 0 {
		return
	}
	slices.SortStableFunc(blobs, func(a, b *ledgerBlob) int { return a.Namespace.Compare(b.Namespace) })
	layOut(blobs, len(txs))
	for i, b := range blobs {
		b.put(batch, height, i)
	}
	batch.Put(heightKey(keyDigest, height), newDigest(blobs).encode())
}

// layOut gives every blob its position in the extended square: the transactions
// come first, a share each, and a blob starts at a multiple of its subtree width.
func layOut(blobs []*ledgerBlob, txs int) {
	cursor := txs
	starts := make([]int, len(blobs))
	for i, b := range blobs {
		n := shareCount(len(b.Data), b.signer != nil)
		width := inclusion.SubTreeWidth(n, subtreeRootThreshold)
		starts[i] = (cursor + width - 1) / width * width
		cursor = starts[i] + n
	}
	width := 1
	for width*width < cursor {
		width *= 2
	}
	for i, b := range blobs {
		b.index = uint32(starts[i]/width*2*width + starts[i]%width) //nolint:gosec // bounded by the block size
	}
}

// digest is what a block's header says of its blobs.
type digest struct {
	lowest, highest Namespace
	sum             [sha256.Size]byte
}

// newDigest hashes the commitments of blobs in DA order.
func newDigest(blobs []*ledgerBlob) digest {
	h := sha256.New()
	for _, b := range blobs {
		h.Write(b.Namespace[:])
		h.Write(b.Commitment[:])
	}
	d := digest{lowest: blobs[0].Namespace, highest: blobs[len(blobs)-1].Namespace}
	h.Sum(d.sum[:0])
	return d
}

func (d digest) encode() []byte {
	return slices.Concat(d.lowest[:], d.highest[:], d.sum[:])
}

// emptyDigest is that of a block without blobs: tail padding only.
func emptyDigest() digest {
	ns := Namespace(share.TailPaddingNamespace.Bytes())
	return digest{lowest: ns, highest: ns, sum: sha256.Sum256(nil)}
}

// roots returns the row and column roots, two of each: data and parity. They
// have the form of the real ones and stand for the blobs of the block, but there
// is no erasure code behind them.
func (d digest) roots() (rows, columns [][]byte) {
	parity := share.ParitySharesNamespace.Bytes()
	root := func(low, high []byte, label byte) []byte {
		sum := sha256.Sum256(append([]byte{label}, d.sum[:]...))
		return slices.Concat(low, high, sum[:])
	}
	rows = [][]byte{root(d.lowest[:], d.highest[:], 'r'), root(parity, parity, 'R')}
	columns = [][]byte{root(d.lowest[:], d.highest[:], 'c'), root(parity, parity, 'C')}
	return rows, columns
}

// ledgerHeader is one block's header.
type ledgerHeader struct {
	height uint64
	time   time.Time
	digest digest
}

// dataHash is the Merkle root of the row and column roots.
func (h ledgerHeader) dataHash() []byte {
	rows, columns := h.digest.roots()
	return merkleRoot(append(rows, columns...))
}

// hash identifies the block.
func (h ledgerHeader) hash(chainID string) []byte {
	buf := append([]byte("header/"), chainID...)
	buf = binary.BigEndian.AppendUint64(buf, h.height)
	buf = binary.BigEndian.AppendUint64(buf, uint64(h.time.UnixNano()))
	sum := sha256.Sum256(append(buf, h.dataHash()...))
	return sum[:]
}

// header reads the header of an existing block.
func (l *ledger) header(height uint64) (ledgerHeader, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.closed:
		return ledgerHeader{}, errLedgerClosed
	case height == 0 || height > l.meta.head:
		return ledgerHeader{}, fmt.Errorf("header: no block at height %d", height)
	}
	h := ledgerHeader{height: height, time: l.timeAt(height), digest: emptyDigest()}
	raw, err := l.db.Get(heightKey(keyDigest, height), nil)
	switch {
	case errors.Is(err, leveldb.ErrNotFound):
		return h, nil
	case err != nil:
		return ledgerHeader{}, fmt.Errorf("DA store: read header %d: %w", height, err)
	case len(raw) != digestStoreSize:
		return ledgerHeader{}, fmt.Errorf("DA store: header record of %d bytes", len(raw))
	}
	copy(h.digest.lowest[:], raw)
	copy(h.digest.highest[:], raw[NamespaceSize:])
	copy(h.digest.sum[:], raw[2*NamespaceSize:])
	return h, nil
}

// blobs reads the blobs of the namespaces at a height, namespace by namespace in
// the order asked for. It may wait as reach does.
func (l *ledger) blobs(ctx context.Context, height uint64, namespaces []Namespace) ([]*ledgerBlob, error) {
	if err := l.reach(ctx, height, false); err != nil {
		return nil, err
	}
	var out []*ledgerBlob
	for _, ns := range namespaces {
		err := l.scan(height, ns, func(raw []byte) error {
			b, err := decodeLedgerBlob(ns, raw)
			out = append(out, b)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// errFound ends a scan early.
var errFound = errors.New("found")

// blob reads one blob by its commitment.
func (l *ledger) blob(ctx context.Context, height uint64, ns Namespace, c []byte) (*ledgerBlob, error) {
	if err := l.reach(ctx, height, false); err != nil {
		return nil, err
	}
	var out *ledgerBlob
	err := l.scan(height, ns, func(raw []byte) error {
		stored := storedCommitment(raw)
		if !bytes.Equal(stored[:], c) {
			return nil
		}
		var err error
		out, err = decodeLedgerBlob(ns, raw)
		return cmp.Or(err, errFound)
	})
	switch {
	case errors.Is(err, errFound):
		return out, nil
	case err != nil:
		return nil, err
	}
	return nil, errBlobMissing
}

// scan calls visit with every stored blob of a namespace until it returns an error.
func (l *ledger) scan(height uint64, ns Namespace, visit func(raw []byte) error) error {
	var it iterator.Iterator
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return errLedgerClosed
	}
	it = blobIterator(l.db, height, ns)
	l.mu.RUnlock()
	defer it.Release()
	for it.Next() {
		if err := visit(it.Value()); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("DA store: read blobs at %d: %w", height, err)
	}
	return nil
}
