package sequencer

import (
	"crypto/sha256"
	"math"
	"slices"

	"github.com/tandem-node/tandem/modules/block"
)

// queue holds transactions taken from the mempool, in order and without
// duplicates, until a block has room for them. The store has a copy: whoever
// took them out of a mempool answers for them. It is used by one goroutine.
type queue struct {
	most    int // bytes of one block
	limit   int // of held
	txs     [][]byte
	hashes  [][sha256.Size]byte // of txs, in the same order
	known   map[[sha256.Size]byte]struct{}
	bytes   int // in a block, framing included
	held    int // bytes in memory
	tooBig  uint64
	dropped uint64

	first     uint64 // position of txs[0]
	low, high uint64 // positions in the store: low ≤ p < high
}

// txOverhead is what a waiting transaction takes in memory beside its bytes: its
// entries in two slices and a map, which grow in steps, and the rounding of its
// allocation.
const txOverhead = 144

// heldTx returns what a waiting transaction takes in memory.
func heldTx(tx []byte) int { return len(tx) + txOverhead }

func newQueue(most, limit int) *queue {
	return &queue{most: most, limit: limit, known: map[[sha256.Size]byte]struct{}{}}
}

func (q *queue) empty() bool { return len(q.txs) == 0 }

// add appends transactions. It leaves out duplicates of waiting ones, those
// that no block can ever hold, and whatever comes when the queue is full; the
// last two are counted. It returns how many it kept.
func (q *queue) add(txs [][]byte) int { return q.admit(txs, q.limit) }

func (q *queue) admit(txs [][]byte, limit int) int {
	kept := 0
	for _, tx := range txs {
		size := block.FramedTx(tx)
		if size > q.most {
			q.tooBig++
			continue
		}
		hash := sha256.Sum256(tx)
		if _, ok := q.known[hash]; ok {
			continue
		}
		if q.held+heldTx(tx) > limit {
			q.dropped++
			continue
		}
		q.known[hash] = struct{}{}
		q.txs = append(q.txs, tx)
		q.hashes = append(q.hashes, hash)
		q.bytes += size
		q.held += heldTx(tx)
		kept++
	}
	return kept
}

// fit changes the bytes of one block and drops what no block can hold any more. It
// returns how many that were.
func (q *queue) fit(most int) int {
	shrunk := most < q.most
	q.most = most
	if !shrunk {
		return 0
	}
	dropped := 0
	txs, hashes := q.txs, q.hashes
	q.txs, q.hashes = nil, nil
	for i, tx := range txs {
		size := block.FramedTx(tx)
		if size <= most {
			q.txs, q.hashes = append(q.txs, tx), append(q.hashes, hashes[i])
			continue
		}
		delete(q.known, hashes[i])
		q.bytes -= size
		q.held -= heldTx(tx)
		q.tooBig++
		dropped++
	}
	if dropped > 0 {
		q.first = max(q.first, q.high) // what is left moves to positions of its own
	}
	return dropped
}

// take removes and returns what fits the given part of a block: the longest prefix
// that does, so that order is kept.
func (q *queue) take(most int) [][]byte {
	n, size, held := 0, 0, 0
	for n < len(q.txs) && size+block.FramedTx(q.txs[n]) <= most {
		size += block.FramedTx(q.txs[n])
		held += heldTx(q.txs[n])
		delete(q.known, q.hashes[n])
		n++
	}
	q.first += uint64(n)
	out := q.txs[:n:n]
	if n == len(q.txs) {
		q.txs, q.hashes, q.bytes, q.held = nil, nil, 0, 0
		return out
	}
	// What is left moves to fresh memory, or the block would pin it.
	q.txs = append([][]byte(nil), q.txs[n:]...)
	q.hashes = append([][sha256.Size]byte(nil), q.hashes[n:]...)
	q.bytes -= size
	q.held -= held
	return out
}

// remove takes out transactions that get into a block by another way.
func (q *queue) remove(txs [][]byte) {
	gone := map[[sha256.Size]byte]bool{}
	for _, tx := range txs {
		if hash := sha256.Sum256(tx); q.has(hash) {
			gone[hash] = true
		}
	}
	if len(gone) == 0 {
		return
	}
	left := q.txs
	q.txs, q.hashes, q.bytes, q.held, q.known = nil, nil, 0, 0, map[[sha256.Size]byte]struct{}{}
	q.admit(slices.DeleteFunc(slices.Clone(left), func(tx []byte) bool { return gone[sha256.Sum256(tx)] }), math.MaxInt)
	q.first = max(q.first, q.high) // positions have no holes: all that is left is written anew
}

func (q *queue) has(hash [sha256.Size]byte) bool {
	_, ok := q.known[hash]
	return ok
}

// restore fills a fresh queue with what the store has, from the position first
// on, behind what goes in front of it. The limit does not count: they were
// taken once.
func (q *queue) restore(front [][]byte, first uint64, stored [][]byte) {
	q.low, q.high = first, first+uint64(len(stored))
	q.first = q.high
	if q.admit(front, math.MaxInt)+q.admit(stored, math.MaxInt) == len(stored) && len(front) == 0 {
		q.first = q.low
	}
}

// change returns what makes the store's copy equal to the queue.
func (q *queue) change() block.QueueChange {
	c := block.QueueChange{Drop: q.low, Keep: min(q.high, q.first), At: max(q.high, q.first)}
	if skip := c.At - q.first; skip < uint64(len(q.txs)) {
		c.Txs = q.txs[skip:]
	}
	return c
}

// written notes that the store has what change returned last.
func (q *queue) written() { q.low, q.high = q.first, q.first+uint64(len(q.txs)) }
