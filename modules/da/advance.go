package da

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// advance reads the header below what was read and keeps it, once it has been
// read twice with time in between: a chain that is later given another history
// from some height on is told from this one, and an endpoint that is wrong for a
// moment leaves nothing behind.
func (p *Pool) advance(ctx context.Context, e *endpoint) {
	if p.keeper == nil {
		return
	}
	floor := p.keeper.DAFloor()
	p.mu.Lock()
	now := time.Now()
	if !p.known || len(p.record.Anchors) == 0 || now.Sub(p.looked) < anchorEvery {
		p.mu.Unlock()
		return
	}
	p.looked = now
	newest, again := p.record.Anchors[len(p.record.Anchors)-1], p.candidate
	p.mu.Unlock()
	height := again.Height
	if height == 0 {
		if height = floor - min(floor, 1); height <= newest.Height {
			return
		}
	}
	h, err := e.client.HeaderAt(ctx, height)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.candidate = (anchor{}); err != nil || h.Height != height || p.record.contradicts(h) {
		return
	}
	if again.Height == 0 || again.mark() != anchorOf(h).mark() {
		p.candidate = anchorOf(h)
		return
	}
	rec := p.record
	rec.Anchors = []anchor{rec.Anchors[0], anchorOf(h)}
	if err := p.keep(rec); err != nil {
		p.log.Warn("identity of the da layer is not kept", zap.Error(err))
		return
	}
	p.record = rec
}
