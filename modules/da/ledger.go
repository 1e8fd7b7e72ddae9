package da

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// Limits of a DA block.
const (
	maxBlockBytes   = 32 << 20
	maxBlockTxs     = 200
	maxPendingBytes = 128 << 20
	// subscriberBuffer is the number of events a slow subscriber may lag behind.
	subscriberBuffer = 16
)

// Texts of a real node. The client matches them, so both sides use the same words.
var (
	errLedgerClosed  = errors.New("header: node is stopped")
	errHeightZero    = errors.New("height is equal to 0")
	errBlobMissing   = errors.New("blob: not found")
	errNoBlobs       = errors.New("state: no blobs provided")
	errMempoolIsFull = errors.New("broadcast tx error: mempool is full: code: 20")
)

// ledger is a DA chain of one process: it has blocks, times and blobs, and no
// consensus. It makes one block per block time and only then; what was submitted
// waits for the next one.
//
// A block is on disk before anyone can see it.
type ledger struct {
	db *leveldb.DB

	// making is held while a block is made, so that blocks come one after the other.
	making sync.Mutex

	mu           sync.RWMutex
	meta         meta
	segments     []segment
	blockTime    time.Duration
	frozen       bool
	closed       bool
	pending      []*ledgerTx
	pendingBytes int
	subscribers  map[*ledgerSub]struct{}
	changed      chan struct{} // closed and replaced at every block and switch
}

// ledgerTx is a submission on its way into a block.
type ledgerTx struct {
	blobs []*ledgerBlob
	size  int
	fee   uint64
	// done is closed when height or err is set.
	done   chan struct{}
	height uint64
	err    error
}

// ledgerSub is one subscriber. Its channel is closed when it lags too far.
type ledgerSub struct{ heights chan uint64 }

func openLedger(dir string, blockTime time.Duration) (*ledger, error) {
	db, err := openStore(dir)
	if err != nil {
		return nil, err
	}
	l := &ledger{
		db:          db,
		blockTime:   blockTime,
		subscribers: make(map[*ledgerSub]struct{}),
		changed:     make(chan struct{}),
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

func (l *ledger) load() error {
	raw, err := l.db.Get([]byte{keyMeta}, nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		l.meta.tail = 1
		return nil
	}
	if err != nil {
		return fmt.Errorf("DA store: read meta: %w", err)
	}
	if l.meta, err = decodeMeta(raw); err != nil {
		return err
	}
	if l.segments, err = loadSegments(l.db); err != nil {
		return err
	}
	if l.meta.head > 0 && len(l.segments) == 0 {
		return errors.New("DA store: blocks without times")
	}
	return nil
}

// close ends everything that waits and closes the database. Nothing may be called after it.
func (l *ledger) close() error {
	l.making.Lock()
	defer l.making.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	for _, tx := range l.pending {
		tx.err = errLedgerClosed
		close(tx.done)
	}
	l.pending = nil
	for s := range l.subscribers {
		l.drop(s)
	}
	l.wake()
	l.mu.Unlock()
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("DA store: close: %w", err)
	}
	return nil
}

// run makes blocks until ctx ends.
func (l *ledger) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, changed := l.untilNext(time.Now())
		if wait == 0 {
			if _, err := l.produce(time.Now()); err != nil {
				return err
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-changed:
		}
	}
}

// never is a wait that only a switch ends.
const never = 24 * time.Hour

// untilNext returns how long it is to the next block, and a channel that is
// closed when that may have changed.
func (l *ledger) untilNext(now time.Time) (time.Duration, <-chan struct{}) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.closed:
		return never, l.changed
	case l.meta.head == 0: // there is always a head, even on a frozen chain
		return 0, l.changed
	case l.frozen:
		return never, l.changed
	}
	return max(0, l.timeAt(l.meta.head).Add(l.blockTime).Sub(now)), l.changed
}

// timeAt is the time of an existing block. The caller holds mu.
func (l *ledger) timeAt(height uint64) time.Time {
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].first > height })
	return l.segments[i-1].at(height)
}

// nextTime is the time of the next block: on the grid of the blocks before while
// it is kept, now after a pause. It never goes back. The caller holds mu.
func (l *ledger) nextTime(now time.Time) (segment, bool) {
	height := l.meta.head + 1
	fresh := segment{first: height, start: now.UTC(), interval: l.blockTime}
	if l.meta.head == 0 {
		return fresh, true
	}
	last := l.segments[len(l.segments)-1]
	due := last.at(height)
	late := now.Sub(due)
	if last.interval == l.blockTime && late >= 0 && late < l.blockTime {
		return last, false
	}
	if before := last.at(l.meta.head); !fresh.start.After(before) {
		fresh.start = before.Add(1)
	}
	return fresh, true
}

// produce makes one block of what is pending and returns its height.
func (l *ledger) produce(now time.Time) (uint64, error) {
	l.making.Lock()
	defer l.making.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, errLedgerClosed
	}
	txs := l.take()
	next := l.meta
	next.head++
	seg, fresh := l.nextTime(now)
	l.mu.Unlock()

	batch := new(leveldb.Batch)
	if fresh {
		batch.Put(heightKey(keySegment, seg.first), seg.encode())
	}
	for _, tx := range txs {
		next.spent += tx.fee
	}
	putBlobs(batch, next.head, txs)
	batch.Put([]byte{keyMeta}, next.encode())
	err := l.db.Write(batch, &opt.WriteOptions{Sync: len(txs) > 0})

	l.mu.Lock()
	defer l.mu.Unlock()
	for _, tx := range txs {
		tx.height, tx.err = next.head, err
		close(tx.done)
	}
	if err != nil {
		return 0, fmt.Errorf("DA store: write block %d: %w", next.head, err)
	}
	if fresh {
		l.segments = append(l.segments, seg)
	}
	// tail may have moved meanwhile: only the own fields.
	l.meta.head, l.meta.spent = next.head, next.spent
	l.wake()
	for s := range l.subscribers {
		select {
		case s.heights <- next.head:
		default:
			l.drop(s)
		}
	}
	return next.head, nil
}

// take removes the oldest submissions that fit a block. The caller holds mu.
func (l *ledger) take() []*ledgerTx {
	n, size := 0, 0
	for n < len(l.pending) && n < maxBlockTxs && size+l.pending[n].size <= maxBlockBytes {
		size += l.pending[n].size
		n++
	}
	txs := slices.Clone(l.pending[:n])
	l.pending = slices.Delete(l.pending, 0, n)
	l.pendingBytes -= size
	return txs
}

// wake tells everyone who waits. The caller holds mu.
func (l *ledger) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// submit queues a transaction. It lands even when nobody waits for it any more.
func (l *ledger) submit(tx *ledgerTx) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errLedgerClosed
	}
	if l.pendingBytes+tx.size > maxPendingBytes {
		return errMempoolIsFull
	}
	tx.done = make(chan struct{})
	l.pending = append(l.pending, tx)
	l.pendingBytes += tx.size
	return nil
}

// await returns the height a transaction landed at.
func (tx *ledgerTx) await(ctx context.Context) (uint64, error) {
	select {
	case <-tx.done:
		return tx.height, tx.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// reach waits until a height may be read. Only the height right above the head is
// waited for, unless any is set; others are from the future.
func (l *ledger) reach(ctx context.Context, height uint64, anyHeight bool) error {
	if height == 0 {
		return errHeightZero
	}
	for {
		l.mu.RLock()
		m, closed, changed := l.meta, l.closed, l.changed
		l.mu.RUnlock()
		switch {
		case closed:
			return errLedgerClosed
		case height < m.tail:
			return fmt.Errorf("requested header (%d) is below Tail (%d)", height, m.tail)
		case height <= m.head:
			return nil
		case height > m.head+1 && !anyHeight:
			return fmt.Errorf("header: given height is from the future: networkHeight: %d, requestedHeight: %d", m.head, height)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subscribe returns a subscriber of the blocks from the next one on.
func (l *ledger) subscribe() (*ledgerSub, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errLedgerClosed
	}
	s := &ledgerSub{heights: make(chan uint64, subscriberBuffer)}
	l.subscribers[s] = struct{}{}
	return s, nil
}

// unsubscribe may be called more than once.
func (l *ledger) unsubscribe(s *ledgerSub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(s)
}

// drop closes a subscriber's channel. The caller holds mu.
func (l *ledger) drop(s *ledgerSub) {
	if _, ok := l.subscribers[s]; ok {
		delete(l.subscribers, s)
		close(s.heights)
	}
}

// bounds returns the lowest and the highest height.
func (l *ledger) bounds() (tail, head uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.meta.tail, l.meta.head
}

// set changes how blocks are made.
func (l *ledger) set(change func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
	l.wake()
}

// prune forgets blocks below a height, at most up to the head.
func (l *ledger) prune(height uint64) error {
	l.making.Lock()
	defer l.making.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errLedgerClosed
	}
	l.meta.tail = max(l.meta.tail, min(height, l.meta.head))
	m := l.meta
	l.mu.Unlock()
	if err := l.db.Put([]byte{keyMeta}, m.encode(), nil); err != nil {
		return fmt.Errorf("DA store: prune: %w", err)
	}
	return deleteBelow(l.db, m.tail)
}
