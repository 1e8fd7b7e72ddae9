package daworker

import (
	"container/list"

	"github.com/tandem-node/tandem/modules/block"
)

// quarantine holds data signed by others than the proposer, unchecked, by
// commitment: it may turn out to be what a header commits to. It is bounded by
// bytes; the oldest gives way. Nothing in it holds the cursor back.
type quarantine struct {
	budget  int
	bytes   int
	order   list.List // of *unsure, oldest first
	data    map[block.Hash][]*unsure
	evicted uint64 // items so far
	// lost is the lowest DA height something was evicted from, 0 for none.
	lost uint64
}

// unsure is data and where it stands.
type unsure struct {
	data *dataItem
	at   *list.Element
}

func (u *unsure) size() int { return u.data.size() + shelfBytes }

func newQuarantine(budget int) *quarantine {
	return &quarantine{budget: budget, data: make(map[block.Hash][]*unsure)}
}

// perKey bounds the candidates for one commitment, so that a flood of them costs
// no more than its bytes.
const perKey = 16

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
	if q.lost == 0 || u.data.da < q.lost {
		q.lost = u.data.da
	}
	q.evicted++
	q.remove(u)
}

func (q *quarantine) remove(u *unsure) {
	q.order.Remove(u.at)
	q.bytes -= u.size()
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

// count returns how many items are held.
func (q *quarantine) count() int { return q.order.Len() }
