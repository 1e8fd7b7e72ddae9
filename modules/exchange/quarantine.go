package exchange

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"
)

// errGaveWay ends the wait of an item whose room was needed.
var errGaveWay = errors.New("gave way in the quarantine")

// quarantine bounds what waits for the header that decides about it, in total and
// per peer. When a peer's share is full its own item that is farthest ahead gives
// way; when all is full, that of the peer that holds most. So nobody can push out
// who holds less, and what is needed first stays longest. What gave way is fetched
// by range once its header is there.
type quarantine struct {
	limit, share int64

	mu      sync.Mutex
	bytes   int64
	wards   map[peer.ID]*ward
	evicted atomic.Uint64
}

// ward is what one peer has in quarantine.
type ward struct {
	bytes   int64
	waiting []*patient
}

type patient struct {
	height uint64
	size   int64
	end    context.CancelCauseFunc
}

// patientBytes is what an item counts at least: a waiting check is not free.
const patientBytes = 64 << 10

func (q *quarantine) init(limit, share int) {
	q.limit, q.share = int64(limit), int64(share)
	q.wards = make(map[peer.ID]*ward)
}

// admit takes an item in. The context ends when it has to give way; leave ends the
// stay. It is false when there is no room.
func (q *quarantine) admit(ctx context.Context, p peer.ID, height uint64, size int) (stay context.Context, leave func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	in := &patient{height: height, size: max(int64(size), patientBytes)}
	w := q.wards[p]
	if w == nil {
		w = &ward{}
		q.wards[p] = w
	}
	defer func() {
		if len(w.waiting) == 0 {
			delete(q.wards, p)
		}
	}()
	if in.size > min(q.share, q.limit) {
		return nil, nil, false
	}
	for w.bytes+in.size > q.share {
		if !q.evict(w, height) {
			return nil, nil, false
		}
	}
	for q.bytes+in.size > q.limit {
		victim, below := q.heaviest(), uint64(0)
		if victim.bytes <= w.bytes+in.size {
			victim, below = w, height
		}
		if !q.evict(victim, below) {
			return nil, nil, false
		}
	}
	stay, in.end = context.WithCancelCause(ctx)
	w.waiting = append(w.waiting, in)
	w.bytes += in.size
	q.bytes += in.size
	return stay, func() { q.discharge(p, in) }, true
}

// heaviest returns the ward with the most bytes. The caller holds mu.
func (q *quarantine) heaviest() *ward {
	most := &ward{}
	for _, w := range q.wards {
		if w.bytes > most.bytes {
			most = w
		}
	}
	return most
}

// evict ends the stay of a ward's farthest item, if it is above a height. The
// caller holds mu.
func (q *quarantine) evict(w *ward, above uint64) bool {
	at := -1
	for i, one := range w.waiting {
		if one.height > above && (at < 0 || one.height > w.waiting[at].height) {
			at = i
		}
	}
	if at < 0 {
		return false
	}
	one := w.waiting[at]
	q.remove(w, at)
	one.end(errGaveWay)
	q.evicted.Add(1)
	return true
}

func (q *quarantine) remove(w *ward, at int) {
	w.bytes -= w.waiting[at].size
	q.bytes -= w.waiting[at].size
	w.waiting = append(w.waiting[:at], w.waiting[at+1:]...)
}

// discharge ends a stay that was not ended before.
func (q *quarantine) discharge(p peer.ID, one *patient) {
	q.mu.Lock()
	defer q.mu.Unlock()
	one.end(nil)
	w := q.wards[p]
	if w == nil {
		return
	}
	for i := range w.waiting {
		if w.waiting[i] == one {
			q.remove(w, i)
			break
		}
	}
	if len(w.waiting) == 0 {
		delete(q.wards, p)
	}
}

// size returns the bytes in quarantine.
func (q *quarantine) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
