package sequencer

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// begin keeps a block from being signed before it is known what the key has signed
// already: the home may be an old copy, or the database may have lost its end. Others
// are asked at every start, what they have is fetched, and the chain has to reach the
// height that the signer remembers.
func (p *Producer) begin(ctx context.Context) error {
	asked := false
	if p.cfg.BeginUnchecked {
		p.p.Log.Info("nobody is asked for blocks of this key before one is signed: sequencer.begin_unchecked is set")
	} else {
		if err := p.ask(ctx); err != nil {
			return err
		}
		asked = true
	}
	for {
		if err := p.caughtUp(ctx); err != nil {
			return err
		}
		done, err := p.recovered(ctx, asked)
		if err != nil {
			return err
		}
		if done {
			return p.remember(ctx)
		}
	}
}

// ask waits until enough others have said what they have of the chain.
func (p *Producer) ask(ctx context.Context) error {
	if p.p.Elsewhere == nil {
		return nil
	}
	memory, err := p.memory(ctx)
	if err != nil {
		return err
	}
	defer p.p.Problems.Clear(problems.Signing, subjectAsk)
	since := time.Now()
	k := knowledge{certain: memory.Certain}
	var missing string
	err = p.gone(ctx, "looking for blocks of the chain before one is made", func() string {
		k.fresh = !p.p.Chain.State().Started() && p.p.Headers.Height() == 0
		k.waited = time.Since(since) >= p.cfg.AskPeers
		var enough bool
		if missing, enough = p.p.Elsewhere.Answers().enough(k); enough {
			return ""
		}
		if k.waited {
			p.p.Problems.Report(problems.Problem{Kind: problems.Signing, Subject: subjectAsk, Unready: true, Reason: "no block is signed before it is known " +
				"that this home is not an old copy; waiting for " + missing + " (see signer.state_file and sequencer.begin_unchecked)"})
		}
		return missing
	})
	if err != nil {
		return err
	}
	if missing != "" {
		p.p.Log.Info("going on without all answers", zap.String("missing", missing), zap.Duration("waited", time.Since(since)))
	}
	return nil
}

// Subjects of problems.
const (
	subjectAsk  = "others"
	subjectLost = "lost blocks"
)

func (p *Producer) memory(ctx context.Context) (m block.Memory, err error) {
	err = p.retry(ctx, func() error {
		m, err = p.p.Signer.Signed(ctx)
		return err
	})
	if err != nil {
		return m, fmt.Errorf("ask the signer what it has signed: %w", err)
	}
	return m, nil
}

// Disowner is a Signer that can take back a mark whose signature it never gave
// out, because the machine went down. Where a signer is none, what it is to sign is
// on the disk before it is asked.
type Disowner interface {
	Disown(ctx context.Context, m block.Mark) error
}

// recovered reports whether the chain has all that the key has signed, and waits a
// moment if not.
func (p *Producer) recovered(ctx context.Context, asked bool) (bool, error) {
	changed := p.p.Chain.Changed()
	memory, err := p.memory(ctx)
	if err != nil {
		return false, err
	}
	pending, err := p.pending(ctx)
	if err != nil {
		return false, err
	}
	st := p.p.Chain.State()
	signed := memory.Height
	if pending != nil {
		signed = max(signed, before(pending.Height()))
	}
	next := st.NextHeight()
	switch {
	case signed < next, signed == next && p.resumable(st, pending, memory.Mark):
		p.p.Problems.Clear(problems.Signing, subjectLost)
		p.waiting("")
		return true, nil
	case asked && memory.Disownable && p.lost(st, pending, signed):
		if d, ok := p.p.Signer.(Disowner); ok {
			p.p.Log.Warn("a block was lost with the machine before its signature was given out, it is made anew", zap.Uint64("height", signed))
			return false, d.Disown(ctx, memory.Mark)
		}
	}
	what := fmt.Sprintf("blocks %d to %d, which this key has signed and this database has lost", next, signed)
	p.p.Problems.Report(problems.Problem{Kind: problems.Signing, Subject: subjectLost, Unready: true, Reason: "waiting for " + what +
		": connect DA or a peer that has them"})
	p.waiting(what)
	_, err = sleep(ctx, time.Second, changed)
	return false, err
}

// lost reports whether the block that was signed last was lost with the machine
// before it was on the disk: until then its signature stays inside, and nobody has
// it. The block before is applied, or pending still: the record that it was applied
// is on the disk no earlier than the next block.
func (p *Producer) lost(st block.State, pending *block.Block, signed uint64) bool {
	next := st.NextHeight()
	if pending == nil || pending.Height() != next {
		return signed == next
	}
	return signed == next+1 && p.fits(st, *pending) == nil
}

// pending returns the block that an earlier process was making; nil when there is
// none.
func (p *Producer) pending(ctx context.Context) (*block.Block, error) {
	b, ok, err := p.p.Store.Pending(ctx)
	if err != nil {
		return nil, fmt.Errorf("read pending block: %w", err)
	}
	if !ok {
		return nil, nil //nolint:nilnil // as documented
	}
	return &b, nil
}

// resumable reports whether the pending block is the one that was signed, and can
// still be made. A mark without payload is that of an executor that was found ahead
// of the chain: what it had executed is what was pending.
func (p *Producer) resumable(st block.State, pending *block.Block, signed block.Mark) bool {
	if pending == nil || pending.Height() != signed.Height || p.fits(st, *pending) != nil {
		return false
	}
	return signed.Payload.IsZero() || signed.Payload == block.HeaderMessage(pending.Header).Mark().Payload
}

// remember tells the signer how far the chain is, which lets it sign what comes
// next.
func (p *Producer) remember(ctx context.Context) error {
	st := p.p.Chain.State()
	m := block.Mark{Height: before(st.NextHeight())}
	if st.Started() {
		hs, err := p.p.Headers.GetRange(ctx, st.LastHeight, st.LastHeight+1)
		if err != nil || len(hs) != 1 {
			return fmt.Errorf("read header %d: %w", st.LastHeight, err)
		}
		m = block.HeaderMessage(hs[0]).Mark()
	}
	if err := p.retry(ctx, func() error { return p.p.Signer.Raise(ctx, m) }); err != nil {
		return fmt.Errorf("tell the signer that the chain is at block %d: %w", m.Height, err)
	}
	memory, err := p.memory(ctx)
	if err != nil {
		return err
	}
	if memory.Height == m.Height && memory.Payload != m.Payload && !memory.Payload.IsZero() {
		p.p.Log.Error("the chain's last block is another one than this key has signed here: somebody else signs with it, or signed it elsewhere",
			zap.Uint64("height", m.Height), zap.Stringer("chain", m.Payload), zap.Stringer("signed", memory.Payload))
	}
	pending, err := p.pending(ctx)
	if err != nil || pending == nil || pending.Height() != memory.Height || !memory.Payload.IsZero() {
		return err
	}
	if err := p.p.Signer.Raise(ctx, block.HeaderMessage(pending.Header).Mark()); err != nil {
		return fmt.Errorf("tell the signer of pending block %d: %w", pending.Height(), err)
	}
	return nil
}

// idle waits until the chain can take blocks.
func (p *Producer) idle(ctx context.Context) error {
	chain, ok := p.p.Chain.(interface{ Busy() string })
	if !ok {
		return nil
	}
	return p.gone(ctx, "block production waits", chain.Busy)
}

// gone waits until reason returns nothing. what is logged if it does not at once.
func (p *Producer) gone(ctx context.Context, what string, reason func() string) error {
	const first, longest = 5 * time.Millisecond, 250 * time.Millisecond
	for wait := first; ; wait = min(2*wait, longest) {
		left := reason()
		if left != "" && wait == first {
			p.p.Log.Info(what, zap.String("for", left))
		}
		p.update(func(s *ProducerStats) { s.WaitingFor = left })
		if left == "" {
			return nil
		}
		if _, err := sleep(ctx, wait, nil); err != nil {
			return err
		}
	}
}
