package da

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		if slices.ContainsFunc(p.all, func(e *endpoint) bool { return e.foreign }) {
			p.reportForeign(now)
		}
		if height > 0 || !e.silent[u].read {
			e.silent[u] = silence{}
		}
		if u == reading && height > 0 && height+lagSlack >= p.head {
			e.lag = 0
		}
		if took > slowRead {
			p.doubt(e, u, now)
		}
		return
	case errors.Is(err, ErrTooLarge), errors.Is(err, errRoom), errors.Is(err, ErrIdentity):
		return // says nothing of how the endpoint does
	case errors.Is(err, ErrPruned):
		e.tail = max(e.tail, height+1)
		return
	case errors.Is(err, ErrFuture):
		if !p.lacks(e, height, now) {
			return
		}
	default:
		e.blame(u, err, now)
		if errors.Is(err, errTimeout) {
			e.hushed(u, height > 0, now)
		}
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
		e.head, e.lacksUntil = 0, now.Add(headLife)
		e.blame(reading, err, now)
		p.best(now)
	case height <= p.head:
		e.lag = p.head - height + 1
	default:
		return false
	}
	return true
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

// slow gives rise to doubt in an endpoint that has not answered a call for a while.
func (p *Pool) slow(e *endpoint, u use) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubt(e, u, time.Now())
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
	answered := make(chan *endpoint, len(p.all))
	for i, e := range p.all {
		wg.Go(func() {
			begin := time.Now()
			h, err := e.client.Head(ctx)
			took := time.Since(begin)
			if err == nil {
				err = p.proveAnew(ctx, e, h)
			}
			if err == nil {
				_, err = p.tell(e, h, took)
			}
			if ctx.Err() != nil {
				return
			}
			heads[i] = h.Height
			p.note(e, reading, 0, err, 0)
			if err == nil {
				answered <- e
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	p.leave(answered, done)
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, e := range p.all {
		if heads[i] > 0 && heads[i] == e.head { // it told first and was not held against the rest
			e.lag = p.head - min(e.head, p.head)
		}
	}
	p.rank(time.Now(), p.complaint(p.active[reading]))
}

// leave takes the lead from an endpoint that lets all others answer a probe
// before it, and then some: what waits for it is asked elsewhere at once.
func (p *Pool) leave(answered <-chan *endpoint, done <-chan struct{}) {
	told := map[*endpoint]bool{}
	grace := time.NewTimer(slowRead)
	defer grace.Stop()
	for waited := false; ; {
		select {
		case e := <-answered:
			told[e] = true
		case <-grace.C:
			waited = true
		case <-done:
			return
		}
		if waited && len(told) > 0 {
			p.depose(told)
			return
		}
	}
}

// depose takes the lead from who did not answer.
func (p *Pool) depose(told map[*endpoint]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for u, e := range p.active {
		if told[e] {
			continue
		}
		e.hushed(use(u), false, now)
		e.hangUp()
		e.listen()
	}
	p.rank(now, "it does not answer, and others do")
}
