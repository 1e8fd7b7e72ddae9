package da

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry/problems"
)

const (
	// proofLife is how long an endpoint counts as found to be of the DA layer.
	proofLife = time.Minute
	// foreignRetry is how long one that is not is left alone.
	foreignRetry = 5 * time.Second
	// anchorEvery is how often a newer header is kept, once it was read twice.
	anchorEvery = time.Minute
)

// chain is what a Pool knows of the DA layer it follows. All but meeting is
// guarded by Pool.mu.
type chain struct {
	keeper Keeper // nil keeps nothing: only ids of chains are compared then
	start  uint64 // DA height the node begins at

	meeting   chan struct{} // has room while nobody meets the DA layer for the first time
	known     bool
	record    record
	candidate anchor // read once, to be kept when it is read again
	latest    anchor // newest head with a time that was told in this run
	looked    time.Time
}

// Load takes up what is kept of the DA layer, and moves to another one when
// identity, which is da.identity, says so. It has to return before the first call.
func (p *Pool) Load(identity string) error {
	if p.keeper == nil {
		return nil
	}
	raw, err := p.keeper.DAIdentity()
	if err != nil {
		return fmt.Errorf("identity of the DA layer: %w", err)
	}
	if raw != nil {
		kept, err := decodeRecord(raw)
		if err != nil {
			return err
		}
		p.follow(kept)
	}
	if identity == "" || p.known && p.record.Set == identity {
		return nil
	}
	want, err := parseIdentity(identity)
	if err != nil {
		return err
	}
	keep := p.keeper.KeepDAIdentity
	switch {
	case !p.known:
	case p.record.has(want.Chain, want.Anchors[0]):
		want.Anchors = p.record.Anchors
	default:
		p.log.Warn("moving to another da layer: it is read from its beginning", zap.Stringer("from", p.record), zap.Stringer("to", want))
		keep = p.keeper.MoveDA
	}
	if raw, err = want.encode(); err == nil {
		err = keep(raw)
	}
	if err != nil {
		return fmt.Errorf("identity of the DA layer: %w", err)
	}
	p.follow(want)
	return nil
}

// keep writes a record down.
func (p *Pool) keep(r record) error {
	raw, err := r.encode()
	if err != nil {
		return err
	}
	return p.keeper.KeepDAIdentity(raw)
}

// follow takes a record as that of the DA layer. Its newest header is where heads
// are believed from.
func (p *Pool) follow(r record) {
	p.record, p.known = r, true
	newest := r.Anchors[len(r.Anchors)-1]
	p.sure, p.sureAt = Head{Height: newest.Height, Time: newest.Time}, time.Now()
}

// Identity returns what identifies the DA layer that is followed, as da.identity
// takes it; empty while it is not known.
func (p *Pool) Identity() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return ""
	}
	return p.record.String()
}

// sameChain refuses a head that is not of the DA layer that is followed. Without
// a record that is the one most endpoints are of, the first of them in the config
// when none has most.
func (p *Pool) sameChain(e *endpoint, h Head, now time.Time) error {
	if h.Chain != "" {
		e.chain = h.Chain
	}
	if p.known {
		if p.record.contradicts(h) {
			return p.refuse(e, identityOf(h.Chain, anchorOf(h)), now)
		}
		return nil
	}
	most := p.plurality()
	for _, other := range p.all {
		switch foreign := other.chain != "" && other.chain != most; {
		case foreign && !other.foreign:
			_ = p.refuse(other, other.chain, now) // what e is told of itself is below
		case !foreign && other.foreign:
			p.accept(other, now)
		}
	}
	if e.foreign {
		return p.foreignError(e)
	}
	return nil
}

// plurality returns the id of the chain that most endpoints are of.
func (p *Pool) plurality() string {
	votes := map[string]int{}
	most := ""
	for _, e := range p.all {
		if e.chain != "" {
			votes[e.chain]++
		}
	}
	for _, e := range p.all {
		if votes[e.chain] > votes[most] {
			most = e.chain
		}
	}
	return most
}

// refuse notes that an endpoint is of another DA layer, and which.
func (p *Pool) refuse(e *endpoint, offered string, now time.Time) error {
	if !e.foreign || e.offered == "" {
		p.log.Error("da endpoint is of another da layer and is not used", zap.String("endpoint", e.name),
			zap.String("its_identity", offered), zap.String("identity", p.expected()))
		e.offered = offered
	}
	e.foreign, e.foreignAt, e.proven, e.head, e.lies = true, now, time.Time{}, 0, e.lies+1
	err := p.foreignError(e)
	e.lastErr = err.Error()
	p.best(now)
	p.rank(now, "it is of another DA layer")
	p.reportForeign(now)
	return err
}

func (p *Pool) expected() string {
	if p.known {
		return p.record.String()
	}
	return p.plurality()
}

func (p *Pool) foreignError(e *endpoint) error {
	return fmt.Errorf("%w: expected %s, endpoint %s is of %s", ErrIdentity, p.expected(), e.name, e.offered)
}

// accept notes that an endpoint is of the DA layer that is followed.
func (p *Pool) accept(e *endpoint, now time.Time) {
	e.proven = now
	if e.foreign {
		e.foreign, e.offered = false, ""
		p.log.Info("da endpoint is of the da layer of this node again", zap.String("endpoint", e.name))
	}
	p.reportForeign(now)
}

// reportForeign keeps the list of problems up to date. While another endpoint answers,
// a foreign one is a problem of that endpoint alone; otherwise the node is not ready.
func (p *Pool) reportForeign(now time.Time) {
	usable := false
	for _, e := range p.all {
		usable = usable || !e.foreign && (now.Sub(e.lastOK) < headLife || now.Sub(e.proven) < headLife)
	}
	for _, e := range p.all {
		kind, other := problems.DAIdentity, problems.DAEndpoint
		if usable {
			kind, other = other, kind
		}
		p.board.Clear(other, e.name)
		if !e.foreign {
			p.board.Clear(kind, e.name)
			continue
		}
		p.board.Report(problems.Problem{Kind: kind, Subject: e.name, Unready: !usable, Reason: fmt.Sprintf(
			"DA endpoint %s is not of the DA layer this node was synced from: expected %s, it is of %s; nothing is read from it or posted to it. "+
				"Correct da.address or, if that DA layer was started over on purpose, restart with --da.identity=%s: the node then reads it from its beginning, and a sequencer posts its blocks again",
			e.name, p.expected(), e.offered, e.offered)})
	}
}

// admit makes sure that an endpoint is of the DA layer that is followed, before
// anything is read from it or posted to it.
func (p *Pool) admit(ctx context.Context, e *endpoint) error {
	if p.keeper == nil {
		return nil
	}
	if err := p.meet(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	now, fresh := time.Now(), false
	switch {
	case !p.known:
		fresh = true
	case e.foreign && now.Sub(e.foreignAt) < foreignRetry:
		defer p.mu.Unlock()
		return p.foreignError(e)
	case !e.foreign && now.Sub(e.proven) < proofLife:
		fresh = true
	}
	p.mu.Unlock()
	if fresh {
		return nil
	}
	return p.prove(ctx, e)
}

// proveAnew proves an endpoint whose head cannot be of one chain with the head told
// last: the headers that are kept may be too old to show that it started over.
func (p *Pool) proveAnew(ctx context.Context, e *endpoint, h Head) error {
	if p.keeper == nil {
		return nil
	}
	p.mu.Lock()
	odd := p.known && p.latest.Height > 0 && p.latest.contradicts(h)
	p.mu.Unlock()
	if !odd {
		return nil
	}
	if err := p.prove(ctx, e); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = anchorOf(h)
	return nil
}

// prove compares an endpoint's headers with those that are kept.
func (p *Pool) prove(ctx context.Context, e *endpoint) error {
	h, err := e.client.Head(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	rec := p.record
	p.mu.Unlock()
	foreign := rec.contradicts(h)
	offered := h
	for i, a := range slices.Backward(rec.Anchors) {
		if a.Height > h.Height || foreign && i > 0 {
			continue
		}
		got, err := e.client.HeaderAt(ctx, a.Height)
		switch {
		case errors.Is(err, ErrPruned):
			continue
		case err != nil && !foreign:
			return err
		case err == nil:
			offered, foreign = got, foreign || a.contradicts(got)
		}
		if !foreign {
			break // the newest that can be compared is the same
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if foreign {
		if offered.Chain == "" {
			offered.Chain = h.Chain
		}
		e.offered = identityOf(offered.Chain, anchorOf(offered))
		return p.refuse(e, e.offered, now)
	}
	if h.Height > 0 {
		p.accept(e, now)
	}
	return nil
}

// meet learns the identity of the DA layer at the first contact: all endpoints
// are asked, and what most of them say is kept, of the first in the config when
// none has most.
func (p *Pool) meet(ctx context.Context) error {
	select {
	case p.meeting <- struct{}{}:
		defer func() { <-p.meeting }()
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // as of any call
	}
	p.mu.Lock()
	known := p.known
	p.mu.Unlock()
	if known {
		return nil
	}
	found := make([]Head, len(p.all))
	errs := make([]error, len(p.all))
	var wg sync.WaitGroup
	for i, e := range p.all {
		wg.Go(func() { found[i], errs[i] = p.introduce(ctx, e) })
	}
	wg.Wait()
	votes := map[string]int{}
	names := make([]string, len(p.all))
	best := -1
	for i, h := range found {
		if errs[i] == nil {
			names[i] = identityOf(h.Chain, anchorOf(h))
			votes[names[i]]++
			votes[h.Chain]++
		}
	}
	weight := func(i int) int { return votes[found[i].Chain]*(len(p.all)+1) + votes[names[i]] }
	for i := range found {
		if errs[i] == nil && (best < 0 || weight(i) > weight(best)) {
			best = i
		}
	}
	switch err := errors.Join(errs...); {
	case best < 0 && errors.Is(err, errNoBlock):
		return nil // there is nothing to know yet, and nothing to read
	case best < 0:
		return err
	}
	rec := record{Chain: found[best].Chain, Anchors: []anchor{anchorOf(found[best])}}
	if err := p.keep(rec); err != nil {
		return fmt.Errorf("keep the identity of the DA layer: %w", err)
	}
	p.log.Info("da layer is known from now on", zap.Stringer("identity", rec))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follow(rec)
	return nil
}

// errNoBlock means that a DA layer has made no block yet.
var errNoBlock = errors.New("no block yet")

// introduce asks an endpoint for the header at the height the node begins at, or
// for its newest when it has none there.
func (p *Pool) introduce(ctx context.Context, e *endpoint) (Head, error) {
	h, err := e.client.Head(ctx)
	if err != nil {
		return h, err
	}
	if h.Height == 0 {
		return h, errNoBlock
	}
	if start := max(p.start, 1); start < h.Height {
		at, err := e.client.HeaderAt(ctx, start)
		if err == nil {
			if at.Chain == "" {
				at.Chain = h.Chain
			}
			return at, nil
		}
		if !errors.Is(err, ErrPruned) {
			return at, err
		}
	}
	return h, nil
}
