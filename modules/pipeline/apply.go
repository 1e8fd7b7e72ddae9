package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/telemetry/tracelog"
)

// waiting is a group that was executed but whose commit failed. It is committed
// before anything else happens, so that no block is executed again.
type waiting struct {
	blocks []block.Block
	src    block.Source
}

// Apply verifies, executes and commits blocks of ascending, contiguous heights.
// Blocks already applied are dropped; another block at an applied height is a
// *block.Conflict, blocks beyond the next height are ErrGap. When it fails, the
// blocks before the failure are applied. Apply does not keep the slice.
func (p *Pipeline) Apply(ctx context.Context, blocks []block.Block, src block.Source) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	if err := p.settle(ctx); err != nil {
		return p.owe(err)
	}
	if err := p.purge(ctx); err != nil {
		return err
	}
	rest, err := p.dropKnown(ctx, blocks, src)
	if err != nil {
		return err
	}
	for len(rest) > 0 {
		n, err := p.group(ctx, rest, src)
		rest = rest[n:]
		if err != nil {
			return p.refute(ctx, err, rest, src)
		}
	}
	if err := p.advanceQuietly(ctx); err != nil {
		return err
	}
	return p.purge(ctx)
}

// settle finishes what an earlier failure left undone.
func (p *Pipeline) settle(ctx context.Context) error {
	if err := p.ready(); err != nil {
		return err
	}
	if err := p.commitWaiting(ctx); err != nil {
		return err
	}
	if err := p.resumeRevert(ctx); err != nil {
		return err
	}
	if p.unsure {
		if err := p.align(ctx); err != nil {
			return err
		}
		p.unsure = false
	}
	return nil
}

func (p *Pipeline) commitWaiting(ctx context.Context) error {
	if len(p.waiting.blocks) == 0 {
		return nil
	}
	st, err := p.store.State(ctx)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	last := p.states[len(p.states)-1]
	if st.LastHeight == last.LastHeight && bytes.Equal(st.LastHeaderHash, last.LastHeaderHash) {
		p.adopt(p.waiting.blocks, p.waiting.src) //nolint:contextcheck // it failed only after it was done; evidence is dropped whatever becomes of the caller
		return nil
	}
	return p.commit(ctx, p.waiting.blocks, p.waiting.src)
}

// dropKnown returns the blocks above the applied height.
func (p *Pipeline) dropKnown(ctx context.Context, blocks []block.Block, src block.Source) ([]block.Block, error) {
	top := applied(p.state)
	for i, b := range blocks {
		switch {
		case b.Header == nil:
			return nil, fmt.Errorf("block %d of %d has no header", i+1, len(blocks))
		case b.Height() > top:
			return blocks[i:], nil
		case b.Height() < p.genesis.InitialHeight:
			return nil, fmt.Errorf("got block %d, want at least %d: %w", b.Height(), p.genesis.InitialHeight, ErrGap)
		}
		m, err := p.applied(ctx, b.Height())
		if p.pruned(b.Height(), err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m.hash != b.Header.Digest() {
			return nil, p.conflict(ctx, b.Header, src)
		}
	}
	return nil, nil
}

// conflict returns the proof that the proposer signed another header at an
// applied height, or why the header proves nothing.
func (p *Pipeline) conflict(ctx context.Context, h *block.SignedHeader, src block.Source) error {
	have, err := p.stored(ctx, h.Height())
	if err != nil {
		return err
	}
	if err := block.VerifyBasic(h, p.now()); err != nil {
		return err
	}
	if !bytes.Equal(h.Header.ProposerAddress, have.Header.ProposerAddress) {
		return &block.Violation{
			Rule: block.ErrUnexpectedProposer, Height: h.Height(),
			Got: fmt.Sprintf("%X", h.Header.ProposerAddress), Want: fmt.Sprintf("%X", have.Header.ProposerAddress),
		}
	}
	if err := h.VerifySignature(); err != nil {
		return err
	}
	in, err := p.included(ctx, h.Height())
	if err != nil {
		return err
	}
	now := p.now()
	_, err = p.accuse(ctx, block.Evidence{First: p.sighting(have, in, now), Second: block.Sighting{Header: h, Source: src, At: now}})
	if err != nil {
		return err
	}
	return &block.Conflict[*block.SignedHeader]{Height: h.Height(), Have: have, Got: h}
}

// group applies the first blocks that fit in one commit and returns how many.
func (p *Pipeline) group(ctx context.Context, blocks []block.Block, src block.Source) (int, error) {
	p.beat.Busy()
	failed := p.run(ctx, blocks, src)
	n := len(p.states)
	if n == 0 {
		return 0, failed
	}
	if err := p.commit(ctx, blocks[:n], src); err != nil {
		return 0, err
	}
	return n, failed
}

// run fills p.states with the states after the first blocks that fit.
func (p *Pipeline) run(ctx context.Context, blocks []block.Block, src block.Source) (err error) {
	p.states = p.states[:0]
	t := turn{src: src, spans: len(blocks) <= blocktrace.Few, now: p.now()}
	var span blocktrace.Span
	if !t.spans {
		ctx, span = p.tracer.Start(ctx, names.SpanExecute, heights(blocks))
	}
	defer span.End()
	st, size, started := p.state, 0, t.now
	for _, b := range blocks {
		if n := len(p.states); n > 0 && (n >= p.cfg.GroupBlocks || size >= p.cfg.GroupBytes ||
			t.now.Sub(started) >= p.cfg.GroupTime) {
			break
		}
		if err = ctx.Err(); err != nil {
			break
		}
		if st, err = p.step(ctx, st, b, t); err != nil {
			break
		}
		p.states = append(p.states, st)
		size += b.Size()
		t.now = p.now()
	}
	p.size = uint64(size)
	describe(span, len(p.states), src)
	return span.Fail(err)
}

// turn is what the steps of a group share.
type turn struct {
	src   block.Source
	spans bool // one per block
	now   time.Time
}

// step verifies and executes one block and returns the state after it.
func (p *Pipeline) step(ctx context.Context, st block.State, b block.Block, t turn) (block.State, error) {
	switch {
	case b.Header == nil:
		return st, fmt.Errorf("block %d has no header", st.NextHeight())
	case b.Height() != st.NextHeight():
		return st, fmt.Errorf("got block %d, want %d: %w", b.Height(), st.NextHeight(), ErrGap)
	case b.Data == nil && !p.cfg.HeadersOnly:
		return st, fmt.Errorf("block %d has no data", b.Height())
	}
	if err := p.verify(ctx, st, b, t); err != nil {
		return st, err
	}
	in, err := p.included(ctx, b.Height())
	if err != nil {
		return st, err
	}
	if in.HeaderDA != 0 && in.HeaderHash != b.Header.Digest() {
		return st, p.contested(&EquivocationError{
			Height: b.Height(), Applied: b.Header.Digest(), OnDA: in.HeaderHash, DAHeight: in.HeaderDA,
		})
	}
	res, err := p.result(ctx, st, b, t)
	if err != nil {
		return st, err
	}
	next := st.Next(b.Header, res)
	next.DAHeight = max(next.DAHeight, in.HeaderDA, in.DataDA)
	return next, nil
}

func (p *Pipeline) verify(ctx context.Context, st block.State, b block.Block, t turn) (err error) {
	_, span := p.span(ctx, names.SpanVerify, b, t)
	defer span.End()
	if p.cfg.HeadersOnly {
		if p.trusts(b.Header.Header.ProposerAddress) {
			st.NextProposer = b.Header.Header.ProposerAddress
		}
		err = verifyHeader(st, b.Header, t.now)
	} else {
		now := t.now
		if t.src == block.SourceLocal && b.Header.Time().After(now) {
			now = b.Header.Time() // the producer, which made it, knows when the wall clock is wrong
		}
		err = block.Verify(st, b, now)
	}
	return span.Fail(err)
}

func verifyHeader(st block.State, h *block.SignedHeader, now time.Time) error {
	if err := block.VerifyBasic(h, now); err != nil {
		return err
	}
	if err := block.VerifyNextHeader(st, h); err != nil {
		return err
	}
	return h.VerifySignature()
}

// result executes a block, or takes the header's word where nothing is executed.
func (p *Pipeline) result(ctx context.Context, st block.State, b block.Block, t turn) (block.ExecResult, error) {
	if p.cfg.HeadersOnly {
		return block.ExecResult{StateRoot: b.Header.Header.AppHash, NextProposer: b.Header.Header.ProposerAddress}, nil
	}
	ctx, span := p.span(ctx, names.SpanExecute, b, t)
	defer span.End()
	res, err := p.execute(ctx, block.Execution{
		Height: b.Height(), Time: b.Header.Time(), Txs: b.Data.Txs, PrevRoot: st.AppHash,
	})
	if err != nil {
		p.unsure = true
		err = span.Fail(fmt.Errorf("execute block %d: %w", b.Height(), err))
	}
	return res, err
}

// commit makes executed blocks and their states, p.states, the applied ones.
// It does so even when ctx has ended: the executor has already moved on.
func (p *Pipeline) commit(ctx context.Context, blocks []block.Block, src block.Source) error {
	ctx, span := p.tracer.Start(ctx, names.SpanCommit, heights(blocks))
	defer span.End()
	describe(span, len(blocks), src)
	batch := block.Batch{States: p.states, Sync: p.cfg.Sync}
	if src == block.SourceLocal {
		// The block is on the disk already, as the pending one: after a power cut it
		// is made again, byte for byte. Its fsync came with the signer's.
		batch.Blocks, batch.DropPending = blocks, true
	}
	if err := p.store.Commit(context.WithoutCancel(ctx), batch); err != nil {
		if len(p.waiting.blocks) == 0 {
			p.waiting = waiting{blocks: slices.Clone(blocks), src: src}
		}
		return span.Fail(fmt.Errorf("commit blocks %d to %d: %w", blocks[0].Height(), blocks[len(blocks)-1].Height(), err))
	}
	p.adopt(blocks, src) //nolint:contextcheck // evidence is dropped whatever becomes of the caller
	p.logApplied(ctx, blocks, src)
	return nil
}

// logApplied writes a line per block while few come at once, and else one per group.
func (p *Pipeline) logApplied(ctx context.Context, blocks []block.Block, src block.Source) {
	if !p.log.Core().Enabled(zap.DebugLevel) {
		return
	}
	if len(blocks) > blocktrace.Few {
		p.log.Debug("blocks applied", zap.Uint64("from", blocks[0].Height()), zap.Uint64("to", blocks[len(blocks)-1].Height()),
			zap.Stringer("source", src), tracelog.IDs(ctx))
		return
	}
	for _, b := range blocks {
		p.log.Debug("block applied", zap.Uint64("height", b.Height()), zap.String("hash", b.Header.Digest().Short()),
			zap.Stringer("source", src), tracelog.Of(p.tracer.At(ctx, b.Height())))
	}
}

// adopt makes committed blocks the applied ones and tells the world.
func (p *Pipeline) adopt(blocks []block.Block, src block.Source) {
	p.waiting = waiting{}
	for i, b := range blocks {
		if !bytes.Equal(p.state.NextProposer, p.states[i].NextProposer) {
			p.since = p.states[i].NextHeight()
			p.deposed = !p.cfg.HeadersOnly
			p.log.Info("another proposer signs from here on", zap.Uint64("height", p.since),
				zap.String("proposer", fmt.Sprintf("%X", p.states[i].NextProposer)))
		}
		p.state = p.states[i]
		p.recent.put(markOf(b.Header))
		if b.Data != nil {
			p.txs += uint64(len(b.Data.Txs))
		}
	}
	p.keep()
	p.acceptedTo(blocks)
	p.blocks += uint64(len(blocks))
	if int(src) < len(p.by) {
		p.by[src].Blocks += uint64(len(blocks))
		p.by[src].Bytes += p.size
	}
	p.publish(p.next(src, p.now()))
	p.events.Applied(blocks, src)
}
