package pipeline

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/telemetry/tracelog"
)

// finalBatch is how many heights may become final in one commit.
const finalBatch = 1024

// finality is how far the chain is final.
type finality struct {
	height  uint64
	hash    block.Hash
	told    uint64       // last height the executor was told of
	stuck   uint64       // height that was found incomplete on DA; 0 when not known
	hashes  []block.Hash // of the batch in the making
	failing bool         // a retry is due and was logged
}

func (p *Pipeline) loadFinal(ctx context.Context) error {
	told, err := p.toldFinal(ctx)
	if err != nil {
		return err
	}
	p.final = finality{height: p.store.Final(), told: max(p.store.Final(), told)}
	switch top := applied(p.state); {
	case p.final.height == 0:
		return nil
	case p.final.height > top:
		return stateErrorf("block %d is final but only %d is applied: the database is damaged; "+
			"'tandem repair' says what can be kept", p.final.height, top)
	}
	m, err := p.applied(ctx, p.final.height)
	if err != nil {
		return err
	}
	p.final.hash = m.hash
	return nil
}

// advance makes final what was applied and seen on DA with the same hashes.
func (p *Pipeline) advance(ctx context.Context) error {
	for {
		more, failed := p.gather(ctx)
		if err := p.commitFinal(ctx); err != nil {
			return err
		}
		if failed != nil || !more {
			return failed
		}
	}
}

// gather finds heights that can become final now, tells the executor, and
// reports whether there may be more than fit in one batch.
func (p *Pipeline) gather(ctx context.Context) (bool, error) {
	f := &p.final
	f.hashes = f.hashes[:0]
	for h := max(f.height+1, p.genesis.InitialHeight); h <= applied(p.state) && h != f.stuck; h++ {
		if len(f.hashes) == finalBatch {
			return true, nil
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		m, complete, err := p.complete(ctx, h)
		if err != nil {
			return false, err
		}
		if !complete {
			f.stuck = h
			return false, nil
		}
		if h > f.told && !p.cfg.HeadersOnly {
			if err := p.setFinal(ctx, h); err != nil {
				return false, fmt.Errorf("set block %d final: %w", h, err)
			}
		}
		f.told = max(f.told, h)
		f.hashes = append(f.hashes, m.hash)
	}
	return false, nil
}

// complete reports whether all of an applied block was seen on DA.
func (p *Pipeline) complete(ctx context.Context, height uint64) (mark, bool, error) {
	in, err := p.included(ctx, height)
	if err != nil || in.HeaderDA == 0 {
		return mark{}, false, err
	}
	m, err := p.applied(ctx, height)
	if err != nil {
		return mark{}, false, err
	}
	if in.HeaderHash != m.hash {
		_ = p.contested(&EquivocationError{Height: height, Applied: m.hash, OnDA: in.HeaderHash, DAHeight: in.HeaderDA})
		return m, false, nil // never final; what becomes of it is decided in Include
	}
	data := m.empty || p.cfg.HeadersOnly || (in.DataDA != 0 && in.Commitment == m.commitment)
	return m, data, nil
}

// commitFinal persists what gather found, then tells the world.
func (p *Pipeline) commitFinal(ctx context.Context) error {
	f := &p.final
	if len(f.hashes) == 0 {
		return nil
	}
	from := max(f.height+1, p.genesis.InitialHeight)
	to := from + uint64(len(f.hashes)) - 1
	of := blocktrace.Range(from, to)
	of.Each = blocktrace.Many
	ctx, span := p.tracer.Start(ctx, names.SpanFinal, of)
	defer span.End()
	err := p.store.Commit(context.WithoutCancel(ctx), block.Batch{Final: to, Sync: p.cfg.Sync})
	if err != nil {
		return span.Fail(fmt.Errorf("commit final height %d: %w", to, err))
	}
	f.height, f.hash = to, f.hashes[len(f.hashes)-1]
	p.publish(p.next(p.snap.Load().Source, p.snap.Load().AppliedAt))
	for i, hash := range f.hashes {
		h := from + uint64(i)
		delete(p.seen, h)
		p.events.Final(h, hash)
	}
	if e := p.log.Check(zap.DebugLevel, "blocks final"); e != nil {
		e.Write(zap.Uint64("height", to), zap.Int("blocks", len(f.hashes)), zap.String("hash", f.hash.Short()), tracelog.Of(p.tracer.At(ctx, to)))
	}
	return nil
}

// advanceQuietly is advance for Apply, whose blocks are applied whatever comes
// of it: what may succeed later is tried again at the next call.
func (p *Pipeline) advanceQuietly(ctx context.Context) error {
	err := p.advance(ctx)
	switch {
	case err == nil:
		p.final.failing = false
		return nil
	case permanent(err):
		return err
	case ctx.Err() == nil && !p.final.failing:
		p.final.failing = true
		p.log.Warn("final height not advanced, will try again", zap.Uint64("final", p.final.height), zap.Error(err))
	}
	return nil
}
