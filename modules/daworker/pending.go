package daworker

import (
	"cmp"
	"slices"

	"github.com/tandem-node/tandem/modules/block"
)

// pending holds what the proposer signed and the stores cannot take yet: headers
// by height, data by commitment. It is bounded by bytes; what does not fit is
// dropped from the top, and lost says where to read it again.
type pending struct {
	budget  int
	headers map[uint64][]*headerItem // candidates in DA order
	data    map[block.Hash][]*dataItem
	claimed map[uint64][]*dataItem // the same data by the height it is kept under
	items   int                    // of data
	bytes   int
	dropped uint64 // items dropped so far

	// lost is the lowest DA height something was dropped from, 0 for none. From
	// then on nothing at or above ceiling is kept: it is read again anyway.
	lost    uint64
	ceiling uint64
	settled bool // something was let go since the last drop

	holds  map[uint64]int // held items per DA height
	lowest uint64         // cached minimum of holds; 0 when it must be computed
}

func newPending(budget int) *pending {
	return &pending{
		budget: budget, headers: make(map[uint64][]*headerItem), data: make(map[block.Hash][]*dataItem),
		claimed: make(map[uint64][]*dataItem), holds: make(map[uint64]int),
	}
}

// addHeader keeps a header. Repeats are not kept twice.
func (p *pending) addHeader(i *headerItem, hold bool) {
	if p.over(i.header.Height(), i.da, hold) {
		return
	}
	height := i.header.Height()
	for _, have := range p.headers[height] {
		if have.header.Digest() == i.header.Digest() {
			if have.hinted = have.hinted && i.hinted; hold && !have.held { // only now was it read in its turn
				have.held, have.da = true, i.da
				p.hold(i.da)
			}
			return
		}
	}
	p.headers[height] = append(p.headers[height], i)
	p.bytes += i.size() + shelfBytes
	if hold {
		i.held = true
		p.hold(i.da)
	}
	p.shrink()
}

// addData keeps data under i.height. Repeats are not kept twice.
func (p *pending) addData(i *dataItem, hold bool) {
	if p.over(i.height, i.da, hold) {
		return
	}
	c := i.data.Commitment()
	for _, have := range p.data[c] {
		if have.height == i.height {
			if have.hinted = have.hinted && i.hinted; hold && !have.held {
				have.held, have.da = true, i.da
				p.hold(i.da)
			}
			return
		}
	}
	p.data[c] = append(p.data[c], i)
	p.claimed[i.height] = append(p.claimed[i.height], i)
	p.items++
	p.bytes += i.size() + shelfBytes
	if hold {
		i.held = true
		p.hold(i.da)
	}
	p.shrink()
}

// over reports whether an item is above what is kept since something was dropped.
func (p *pending) over(height, daHeight uint64, hold bool) bool {
	if p.lost == 0 || height < p.ceiling {
		return false
	}
	if hold {
		p.lost = min(p.lost, daHeight)
	}
	p.dropped++
	return true
}

func (p *pending) removeHeader(i *headerItem) {
	height := i.header.Height()
	p.headers[height] = without(p.headers[height], i)
	if len(p.headers[height]) == 0 {
		delete(p.headers, height)
	}
	p.bytes -= i.size() + shelfBytes
	p.settled = true
	p.releaseHeader(i)
}

func (p *pending) removeData(i *dataItem) {
	c := i.data.Commitment()
	if p.data[c] = without(p.data[c], i); len(p.data[c]) == 0 {
		delete(p.data, c)
	}
	if p.claimed[i.height] = without(p.claimed[i.height], i); len(p.claimed[i.height]) == 0 {
		delete(p.claimed, i.height)
	}
	p.items--
	p.bytes -= i.size() + shelfBytes
	p.settled = true
	p.releaseData(i)
}

func without[T comparable](s []T, v T) []T {
	return slices.DeleteFunc(s, func(o T) bool { return o == v })
}

// releaseHeader lets the cursor pass; the item stays.
func (p *pending) releaseHeader(i *headerItem) {
	if i.held {
		i.held = false
		p.release(i.da)
	}
}

func (p *pending) releaseData(i *dataItem) {
	if i.held {
		i.held = false
		p.release(i.da)
	}
}

// match returns data with the commitment: the one kept under the height when
// there is one, else any, since metadata is only a claim.
func (p *pending) match(c block.Hash, height uint64) *dataItem {
	all := p.data[c]
	for _, i := range all {
		if i.height == height {
			return i
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return nil
}

func (p *pending) hold(daHeight uint64) {
	p.holds[daHeight]++
	if p.lowest != 0 {
		p.lowest = min(p.lowest, daHeight)
	}
}

func (p *pending) release(daHeight uint64) {
	if p.holds[daHeight]--; p.holds[daHeight] > 0 {
		return
	}
	delete(p.holds, daHeight)
	if p.lowest == daHeight {
		p.lowest = 0
	}
}

// floor returns the DA height a restart must read from, given the next one to read.
func (p *pending) floor(next uint64) uint64 {
	if p.lowest == 0 {
		for daHeight := range p.holds {
			if p.lowest == 0 || daHeight < p.lowest {
				p.lowest = daHeight
			}
		}
	}
	if p.lowest != 0 {
		next = min(next, p.lowest)
	}
	if p.lost != 0 {
		next = min(next, p.lost)
	}
	return next
}

// reclaim returns the DA height to go back to once there is room for what was
// dropped, 0 when there is nothing to do.
func (p *pending) reclaim() uint64 {
	if p.lost == 0 || !p.settled || p.bytes > p.budget/2 {
		return 0
	}
	lost := p.lost
	p.lost, p.ceiling = 0, 0
	return lost
}

// shrink drops what is over the budget: first what does not hold the cursor,
// then the highest block heights. It goes well below the budget, so that its
// cost is spread over many items.
func (p *pending) shrink() {
	if p.bytes <= p.budget {
		return
	}
	type entry struct {
		height uint64
		held   bool
		da     uint64
		drop   func()
	}
	var all []entry
	for height, hs := range p.headers {
		for _, i := range hs {
			all = append(all, entry{height, i.held, i.da, func() { p.removeHeader(i) }})
		}
	}
	for height, ds := range p.claimed {
		for _, i := range ds {
			all = append(all, entry{height, i.held, i.da, func() { p.removeData(i) }})
		}
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.held != b.held {
			if b.held {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.height, a.height)
	})
	for _, e := range all {
		if p.bytes <= p.budget/4*3 {
			break
		}
		e.drop()
		p.dropped++
		if !e.held {
			continue
		}
		if p.lost == 0 {
			p.lost, p.ceiling = e.da, e.height
		}
		p.lost, p.ceiling = min(p.lost, e.da), min(p.ceiling, e.height)
	}
	p.settled = false
}
