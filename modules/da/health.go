package da

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// When the endpoint in use gives rise to doubt all are asked for their heads, to
// tell whether another does better: at most every probeLeast, and ever less often
// while that changes nothing.
const (
	probeLeast = 5 * time.Second
	probeMost  = time.Minute
	// slowRead is what a read may take without doubt.
	slowRead = 2 * time.Second
	// stillHeads is how many DA block times the head may stand still without doubt.
	stillHeads = 5
	// oldHead is the age at which a head gives rise to doubt: clocks differ.
	oldHead = 30 * time.Second
	// usualInterval is the DA block time until it is known better.
	usualInterval = 6 * time.Second
	leastInterval = 200 * time.Millisecond
	mostInterval  = time.Minute
)

// note takes the outcome of a call. height is the one that was asked for, or
// posted to.
func (p *Pool) note(e *endpoint, u use, height uint64, err error, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		e.answered(now)
		if u == reading && height > 0 && height+lagSlack >= p.head {
			e.lag = 0
		}
		if took > slowRead {
			p.doubt(e, u, now)
		}
		return
	case errors.Is(err, ErrPruned):
		e.tail = max(e.tail, height+1)
		return
	case errors.Is(err, ErrFuture):
		if !p.lacks(e, height, now) {
			return
		}
	default:
		e.blame(u, err, now)
	}
	p.doubt(e, u, now)
	p.rank(now, err.Error())
}

// lacks notes that an endpoint does not have a height yet, and reports whether
// it should have. Behind one address there may be several nodes that are not
// quite level.
func (p *Pool) lacks(e *endpoint, height uint64, now time.Time) bool {
	const apart = 10
	switch {
	case height+apart < e.head:
		err := fmt.Errorf("%w: it does not have height %d and told of head %d", ErrDishonest, height, e.head)
		e.head = 0
		e.blame(reading, err, now)
		p.best()
	case height <= p.head:
		e.lag = p.head - height + 1
	default:
		return false
	}
	return true
}

// best finds the best head again after an endpoint changed its mind.
func (p *Pool) best() {
	p.head = 0
	for _, e := range p.all {
		if !e.foreign {
			p.head = max(p.head, e.head)
		}
	}
}

// tell takes an endpoint's answer to Head and returns the head of all.
func (p *Pool) tell(e *endpoint, h Head, took time.Duration) (Head, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.chain == "":
		p.chain = h.Chain
	case h.Chain != "" && h.Chain != p.chain:
		return h, p.banish(e, h.Chain)
	}
	e.timed(took)
	p.rise(e, h.Height, now)
	e.lag = p.head - h.Height
	still := now.Sub(p.moved) > max(stillHeads*p.interval, probeLeast)
	old := !h.Time.IsZero() && now.Sub(h.Time) > max(stillHeads*p.interval, oldHead)
	if still || old || e.lag > lagSlack || took > slowRead {
		p.doubt(e, reading, now)
	}
	p.rank(now, p.complaint(e))
	if h.Height < p.head {
		h = Head{Height: p.head, Chain: h.Chain} // another endpoint's, whose time is not known here
	}
	return h, nil
}

// heard takes a height from an endpoint's stream.
func (p *Pool) heard(e *endpoint, height uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rise(e, max(height, e.head), time.Now())
	e.lag = p.head - e.head
}

// rise notes the head an endpoint tells of and learns the block time from it.
func (p *Pool) rise(e *endpoint, height uint64, now time.Time) {
	const weight = 8
	e.head = height
	switch {
	case height > p.head:
		if n := height - p.head; p.head > 0 && n < uint64(probeMost/leastInterval) {
			each := min(max(now.Sub(p.moved)/time.Duration(n), leastInterval), mostInterval)
			p.interval += (each - p.interval) / weight
		}
		p.head, p.moved = height, now
	case height < p.head:
		p.best()
	}
}

// banish leaves an endpoint of another DA chain alone from now on: the cursor of
// one chain means nothing on another.
func (p *Pool) banish(e *endpoint, chain string) error {
	err := fmt.Errorf("%w: it is of DA chain %q, the others are of %q", ErrDishonest, chain, p.chain)
	if !e.foreign {
		e.foreign, e.head = true, 0
		p.best()
		p.log.Error("da endpoint is of another DA chain and is not used; correct da.address", zap.String("endpoint", e.name),
			zap.String("its_chain", chain), zap.String("chain", p.chain))
	}
	return err
}

func (p *Pool) complaint(e *endpoint) string {
	if e.lag > lagSlack {
		return fmt.Sprintf("it is %d heights behind", e.lag)
	}
	return "it is slower"
}

// rank lets another endpoint take the lead that is better by far.
func (p *Pool) rank(now time.Time, why string) {
	was := p.active
	for u := range uses {
		lead := p.active[u]
		for _, e := range p.all {
			if !e.foreign && (lead.foreign || e.score(u, now) < lead.score(u, now)) {
				lead = e
			}
		}
		if was[u].foreign || was[u].score(u, now)-lead.score(u, now) >= margin {
			p.active[u] = lead
		}
	}
	p.announce(was, why)
}

// announce tells of a change of places, once.
func (p *Pool) announce(was [uses]*endpoint, why string) {
	if p.active[reading] != was[reading] {
		close(p.switched)
		p.switched = make(chan struct{})
	}
	together := was[reading] == was[posting] && p.active[reading] == p.active[posting]
	for u := range uses {
		if p.active[u] == was[u] || u == posting && together {
			continue
		}
		p.gap = probeLeast
		what := u.String()
		if together {
			what = "everything"
		}
		p.log.Warn("another da endpoint takes over", zap.String("for", what), zap.String("from", was[u].name),
			zap.String("to", p.active[u].name), zap.String("because", why))
	}
}

// doubt asks Run to look at all endpoints when one in use does not do well and
// it is time.
func (p *Pool) doubt(e *endpoint, u use, now time.Time) {
	since := now.Sub(p.probed)
	if len(p.all) == 1 || e != p.active[u] || since < p.gap {
		return
	}
	if since > 2*p.gap { // all was well for a while
		p.gap = 0
	}
	p.probed, p.gap = now, min(max(2*p.gap, probeLeast), probeMost)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run looks at all endpoints at start, and again whenever a call gives rise to
// doubt in the one in use, until ctx ends. In between it sleeps.
func (p *Pool) Run(ctx context.Context) error {
	for {
		if len(p.all) > 1 {
			p.probe(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
	}
}

// probe asks all endpoints for their heads at once and ranks them by the answers.
func (p *Pool) probe(ctx context.Context) {
	var wg sync.WaitGroup
	heads := make([]uint64, len(p.all))
	for i, e := range p.all {
		wg.Go(func() {
			begin := time.Now()
			h, err := e.client.Head(ctx)
			if took := time.Since(begin); err == nil {
				_, err = p.tell(e, h, took)
			}
			if ctx.Err() != nil {
				return
			}
			heads[i] = h.Height
			p.note(e, reading, 0, err, 0)
		})
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, e := range p.all {
		if heads[i] > 0 && heads[i] == e.head { // it told first and was not held against the rest
			e.lag = p.head - e.head
		}
	}
	p.rank(time.Now(), p.complaint(p.active[reading]))
}
