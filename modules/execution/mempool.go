package execution

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tandem-node/tandem/modules/block"
)

// txOverhead is what a waiting transaction takes in memory beside its bytes: its
// entries in the queue and the map, which grow in steps, and the rounding of its
// allocation.
const txOverhead = 144

// heldTx returns what a waiting transaction takes in memory.
func heldTx(tx []byte) int { return len(tx) + txOverhead }

// Mempool is a queue of transactions, first in first out, bounded by number and by
// bytes as they lie in memory; what does not fit is refused, nothing queued gives way. It is safe for
// concurrent use and every operation takes constant time per transaction.
type Mempool struct {
	cfg  MempoolConfig
	wake chan struct{} // holds a value while transactions wait
	room atomic.Pointer[func() int]

	mu     sync.Mutex
	queue  []queued // waiting from head on
	head   int
	bytes  int
	queued map[block.Hash]struct{}
}

type queued struct {
	tx   []byte
	hash block.Hash
}

// NewMempool returns an empty mempool.
func NewMempool(cfg MempoolConfig) *Mempool {
	return &Mempool{cfg: cfg, wake: make(chan struct{}, 1), queued: make(map[block.Hash]struct{})}
}

// Add queues a copy of tx, or returns ErrEmptyTx, ErrTxTooLarge, ErrDuplicateTx
// or ErrMempoolFull.
func (m *Mempool) Add(tx []byte) error {
	switch {
	case len(tx) == 0:
		return ErrEmptyTx
	case len(tx) > m.Largest():
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTxTooLarge, len(tx), m.Largest())
	}
	q := queued{tx: bytes.Clone(tx), hash: block.Sum(tx)}

	m.mu.Lock()
	defer m.mu.Unlock()
	if _, dup := m.queued[q.hash]; dup {
		return ErrDuplicateTx
	}
	if m.bytes+heldTx(tx) > m.cfg.MaxBytes || len(m.queued) >= m.cfg.MaxTxs {
		return fmt.Errorf("%w: %d bytes in %d transactions", ErrMempoolFull, m.bytes, len(m.queued))
	}
	m.queue = append(m.queue, q)
	m.queued[q.hash] = struct{}{}
	m.bytes += heldTx(tx)
	m.signal()
	return nil
}

// Limit makes Add refuse transactions above what most returns, beside its own bound;
// 0 is no limit.
func (m *Mempool) Limit(most func() int) { m.room.Store(&most) }

// Largest returns how many bytes a transaction may have now.
func (m *Mempool) Largest() int {
	if most := m.room.Load(); most != nil {
		if n := (*most)(); n > 0 {
			return min(n, m.cfg.MaxTxBytes)
		}
	}
	return m.cfg.MaxTxBytes
}

// Take removes the oldest transactions, at most maxBytes in sum, and returns
// them; the caller owns the bytes. A transaction that exceeds maxBytes by itself
// is dropped and counted.
func (m *Mempool) Take(maxBytes int) (txs [][]byte, dropped int) {
	if maxBytes <= 0 {
		return nil, 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for room := maxBytes; m.head < len(m.queue); {
		n := len(m.queue[m.head].tx)
		if n > maxBytes {
			m.pop()
			dropped++
			continue
		}
		if n > room {
			break
		}
		room -= n
		txs = append(txs, m.pop())
	}
	m.compact()
	m.signal()
	return txs, dropped
}

// Available returns a channel that holds a value while transactions wait. It may
// hold one more value after the last transaction was taken.
func (m *Mempool) Available() <-chan struct{} { return m.wake }

// Len returns how many transactions wait, and the bytes they take in memory.
func (m *Mempool) Len() (txs, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queued), m.bytes
}

func (m *Mempool) pop() []byte {
	q := m.queue[m.head]
	m.queue[m.head] = queued{} // the bytes now belong to the caller
	m.head++
	m.bytes -= heldTx(q.tx)
	delete(m.queued, q.hash)
	return q.tx
}

// compact frees the front of the queue once it is a quarter, so that each transaction
// is moved at most three times on average.
func (m *Mempool) compact() {
	if 4*m.head < len(m.queue) {
		return
	}
	rest := m.queue[m.head:]
	if len(rest) == 0 {
		m.queue, m.head = nil, 0 // a burst's memory goes back
		return
	}
	m.queue, m.head = append([]queued(nil), rest...), 0
}

func (m *Mempool) signal() {
	if len(m.queued) == 0 {
		return
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}
