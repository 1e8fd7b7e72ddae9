package daworker

import (
	"container/list"

	"github.com/tandem-node/tandem/modules/block"
)

// quarantine holds what may turn out to be needed and is not known to be the
// proposer's: data signed by others, unchecked, by commitment, and headers of
// heights whose proposer is not known yet. It is bounded by bytes; the oldest
// gives way. Nothing in it holds the cursor back.
type quarantine struct {
	budget  int
	bytes   int
	order   list.List // of *unsure, oldest first
	data    map[block.Hash][]*unsure
	headers map[uint64][]*unsure
	evicted uint64 // items so far
	// lost is the lowest DA height something was evicted from, 0 for none.
	lost uint64
}

// unsure is either a header or data.
type unsure struct {
	header *headerItem
	data   *dataItem
	at     *list.Element
}

func (u *unsure) size() int {
	if u.header != nil {
		return u.header.size() + 128
	}
	return u.data.size() + 128
}

func (u *unsure) da() uint64 {
	if u.header != nil {
		return u.header.da
	}
	return u.data.da
}

func newQuarantine(budget int) *quarantine {
	return &quarantine{budget: budget, data: make(map[block.Hash][]*unsure), headers: make(map[uint64][]*unsure)}
}

// perKey bounds the candidates for one commitment or height, so that a flood of
// them costs no more than its bytes.
const perKey = 16

func (q *quarantine) addHeader(i *headerItem) {
	height := i.header.Height()
	if same := q.headers[height]; len(same) >= perKey {
		q.evict(same[0])
	}
	u := &unsure{header: i}
	q.headers[height] = append(q.headers[height], u)
	q.add(u)
}

// addData keeps data. It returns false when it had to look at the signature and
// found it wrong.
func (q *quarantine) addData(i *dataItem) bool {
	c := i.data.Commitment()
	if len(q.data[c]) >= perKey {
		if !i.verify() {
			return false
		}
		for len(q.data[c]) > 0 { // one that is good is all that is needed
			q.remove(q.data[c][0])
		}
	}
	u := &unsure{data: i}
	q.data[c] = append(q.data[c], u)
	q.add(u)
	return true
}

func (q *quarantine) add(u *unsure) {
	u.at = q.order.PushBack(u)
	q.bytes += u.size()
	for q.bytes > q.budget {
		oldest, ok := q.order.Front().Value.(*unsure)
		if !ok {
			return
		}
		q.evict(oldest)
	}
}

func (q *quarantine) evict(u *unsure) {
	if q.lost == 0 || u.da() < q.lost {
		q.lost = u.da()
	}
	q.evicted++
	q.remove(u)
}

func (q *quarantine) remove(u *unsure) {
	q.order.Remove(u.at)
	q.bytes -= u.size()
	if u.header != nil {
		height := u.header.header.Height()
		if q.headers[height] = without(q.headers[height], u); len(q.headers[height]) == 0 {
			delete(q.headers, height)
		}
		return
	}
	c := u.data.data.Commitment()
	if q.data[c] = without(q.data[c], u); len(q.data[c]) == 0 {
		delete(q.data, c)
	}
}

// takeData removes and returns data with the commitment whose signature is
// good, nil when there is none. What fails is dropped; bad counts it.
func (q *quarantine) takeData(c block.Hash) (item *dataItem, bad uint64) {
	for len(q.data[c]) > 0 {
		u := q.data[c][0]
		q.remove(u)
		if u.data.verify() {
			return u.data, bad
		}
		bad++
	}
	return nil, bad
}

// takeHeaders removes and returns the headers kept for a height.
func (q *quarantine) takeHeaders(height uint64) []*headerItem {
	var out []*headerItem
	for len(q.headers[height]) > 0 {
		u := q.headers[height][0]
		q.remove(u)
		out = append(out, u.header)
	}
	return out
}

// count returns how many items are held.
func (q *quarantine) count() int { return q.order.Len() }
