package da

import (
	"fmt"
	"math"
	"time"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// What is believed of heads.
const (
	// usualInterval is the DA block time until it was measured.
	usualInterval = 6 * time.Second
	leastInterval = 10 * time.Millisecond
	mostInterval  = time.Minute
	// headLife is for how long at least what an endpoint told of its head counts,
	// and for how long its heads do not count once it lacked a height below one.
	headLife = time.Minute
	// faster is by how much blocks may come faster than measured, leap how many
	// heights more are believed at once, and clockSlack how far clocks may differ.
	faster     = 10
	leap       = 128
	clockSlack = time.Minute
	// stillTime is for how long at least the head stands still before that is a
	// problem, and stalledHeads how many block times.
	stillTime    = 30 * time.Second
	stalledHeads = 10
)

// best finds the best head again, of those that were told lately. What an endpoint
// tells that lacked a height below its head counts only where no other has told.
func (p *Pool) best(now time.Time) {
	p.head = 0
	caught := true
	for _, e := range p.all {
		if e.foreign || e.head == 0 || now.Sub(e.toldAt) > max(headLife, stalledHeads*p.interval) {
			continue
		}
		lacks := now.Before(e.lacksUntil)
		if lacks == caught && e.head > p.head || caught && !lacks {
			p.head, p.headTime, caught = e.head, e.at, lacks
		}
	}
}

// tell takes an endpoint's answer to Head and returns the head of all.
func (p *Pool) tell(e *endpoint, h Head, took time.Duration) (Head, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if err := p.sameChain(e, h, now); err != nil {
		return h, err
	}
	if err := p.believe(e, h, now); err != nil {
		return h, err
	}
	e.timed(took)
	p.rise(e, h, now)
	e.lag = p.head - min(h.Height, p.head)
	still := now.Sub(p.moved) > max(stillHeads*p.interval, probeLeast)
	old := !h.Time.IsZero() && p.wall().Sub(h.Time) > max(stillHeads*p.interval, oldHead)
	if still || old || e.lag > lagSlack || took > slowRead {
		p.doubt(e, reading, now)
	}
	p.rank(now, p.complaint(e))
	p.watchHead(now)
	if h.Height != p.head { // another endpoint's
		h = Head{Height: p.head, Time: p.headTime, Chain: h.Chain}
	}
	return h, nil
}

// headSubject tells the problem of an endpoint's heads apart from that of its identity.
func headSubject(e *endpoint) string { return e.name + " head" }

// believe refuses a head that is farther from the one before than blocks can be
// made in the time between: by the times of both headers and by the clock here,
// whichever leaves more room. The wall clock bounds the former alone, as it may be set
// back.
func (p *Pool) believe(e *endpoint, h Head, now time.Time) error {
	if p.sure.Height == 0 || h.Height <= p.sure.Height {
		return nil
	}
	span := now.Sub(p.sureAt)
	if !h.Time.IsZero() && !p.sure.Time.IsZero() {
		at := h.Time
		if latest := p.wall().Add(clockSlack); at.After(latest) {
			at = latest
		}
		span = max(span, at.Sub(p.sure.Time))
	}
	interval := leastInterval
	if p.measured {
		interval = max(p.interval/faster, leastInterval)
	}
	ahead, most := h.Height-p.sure.Height, leap+uint64((span+clockSlack)/interval) //nolint:gosec // not negative
	if ahead <= most {
		p.board.Clear(problems.DAEndpoint, headSubject(e))
		return nil
	}
	err := fmt.Errorf("%w: its head is %d, which is %d above %d, and since then there were no more than %d blocks",
		ErrDishonest, h.Height, ahead, p.sure.Height, most)
	p.board.Report(problems.Problem{Kind: problems.DAEndpoint, Subject: headSubject(e), Reason: fmt.Sprintf(
		"DA endpoint %s reports head %d, which cannot be: it was at %d %s ago; its heads are not used until they can be true, check that node or remove it from da.address",
		e.name, h.Height, p.sure.Height, now.Sub(p.sureAt).Round(time.Second))})
	return err
}

// heard takes a height from an endpoint's stream, and reports whether it is believed.
func (p *Pool) heard(e *endpoint, height uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if e.foreign {
		return false
	}
	if err := p.believe(e, Head{Height: height}, now); err != nil {
		e.blame(reading, err, now)
		return false
	}
	switch {
	case height > e.head:
		p.rise(e, Head{Height: height}, now)
		e.lag = p.head - min(e.head, p.head)
	case height < e.head:
		e.proven = time.Time{} // the layer may have started over
	}
	return true
}

// rise notes the head an endpoint tells of and learns the block time from it.
func (p *Pool) rise(e *endpoint, h Head, now time.Time) {
	e.head, e.toldAt, e.at = h.Height, now, h.Time
	if h.Height > p.latest.Height && !h.Time.IsZero() {
		p.latest = anchorOf(h)
	}
	switch {
	case h.Height > p.sure.Height:
		p.measure(h, now)
		p.rose = p.rose || p.sure.Height > 0
		p.sure, p.sureAt, p.moved = h, now, now
	case h.Height == p.sure.Height && p.sure.Time.IsZero():
		p.sure.Time = h.Time
	}
	p.best(now)
	if p.head < p.sure.Height { // nobody stands by it any more
		p.sure, p.sureAt = Head{Height: p.head, Time: p.headTime}, now
	}
}

// measure learns the block time: from the times of headers, or from when heads
// were told where they have none.
func (p *Pool) measure(h Head, now time.Time) {
	const weight = 8
	n := h.Height - p.sure.Height
	span := now.Sub(p.sureAt)
	timed := !h.Time.IsZero() && !p.sure.Time.IsZero()
	if p.sure.Height == 0 || !timed && n >= uint64(mostInterval/leastInterval) || n > math.MaxInt64 {
		return
	}
	if timed {
		span = h.Time.Sub(p.sure.Time)
	}
	each := min(max(span/time.Duration(n), leastInterval), mostInterval)
	if timed && !p.measured {
		p.interval, p.measured = each, true
		return
	}
	p.interval += (min(each, 3*p.interval) - p.interval) / weight // a stall is no block time
}

// BlockTime returns the block time of the DA layer as measured, or a usual one
// until it was.
func (p *Pool) BlockTime() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.interval
}

// BlockTimeOf returns the block time of the DA layer behind a client: set where
// that is not 0, else as measured, or a usual one for a client that measures none.
func BlockTimeOf(c Client, set time.Duration) time.Duration {
	if set > 0 {
		return set
	}
	if m, ok := c.(interface{ BlockTime() time.Duration }); ok {
		return m.BlockTime()
	}
	return usualInterval
}

// watchHead reports that the DA layer makes no blocks, or that it does again.
func (p *Pool) watchHead(now time.Time) {
	limit := max(stillTime, stalledHeads*p.interval)
	old := !p.headTime.IsZero() && p.wall().Sub(p.headTime) > limit
	if p.head == 0 || now.Sub(p.moved) <= limit && (p.rose || !old) {
		p.board.Clear(problems.DAHead, "")
		return
	}
	since := now.Sub(p.moved)
	if old {
		since = p.wall().Sub(p.headTime)
	}
	p.board.Report(problems.Problem{Kind: problems.DAHead, Reason: fmt.Sprintf(
		"the DA layer makes no blocks: its newest is %d from %s ago, where one is expected every %s; nothing becomes final until it does, check the DA nodes in da.address",
		p.head, since.Round(time.Second), p.interval.Round(time.Millisecond))})
}

// unanswered reports that no endpoint tells its head.
func (p *Pool) unanswered(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.began
	for _, e := range p.all {
		if e.toldAt.After(last) {
			last = e.toldAt
		}
	}
	since := time.Since(last)
	if since <= max(stillTime, stalledHeads*p.interval) {
		return
	}
	p.board.Report(problems.Problem{Kind: problems.DAHead, Reason: fmt.Sprintf(
		"no DA endpoint has told its head for %s: %v; check the DA nodes and da.address", since.Round(time.Second), err)})
}
