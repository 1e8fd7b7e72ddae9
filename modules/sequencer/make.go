package sequencer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/names"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/telemetry/tracelog"
)

// maxAhead is how far a block may be ahead of the wall clock, which happens
// when the clock was set back. Peers refuse more than 10 s (evolve-wire §2.9).
const maxAhead = 5 * time.Second

// step makes one block: build, write down, sign, apply, broadcast.
func (p *Producer) step(ctx context.Context) error {
	p.beat.Busy()
	defer p.beat.Idle()
	start := time.Now()
	st := p.p.Chain.State()
	if !p.proposes(st) {
		return nil // it changed while stored blocks were waited for
	}
	ctx, span := p.p.Tracer.Make(ctx, names.SpanProduce, st.NextHeight())
	defer span.End()
	if span.Recording() {
		span.SetAttributes(attribute.String(names.AttrChainID, st.ChainID), attribute.String(names.AttrSource, block.SourceLocal.String()))
	}
	if err := p.time(ctx, st); err != nil {
		return err
	}
	if p.held == nil {
		b, err := p.build(ctx, st)
		if err != nil {
			return span.Fail(err)
		}
		p.held = &b
	}
	signed, err := p.sign(ctx, *p.held)
	if err != nil {
		return span.Fail(err)
	}
	if span.Recording() {
		span.SetAttributes(attribute.Int(names.AttrTxCount, len(signed.Data.Txs)), attribute.String(names.AttrHash, signed.Header.Digest().String()))
	}
	news := p.announce(ctx, signed)
	defer news.drop()
	if err := p.apply(ctx, signed); err != nil {
		return span.Fail(err)
	}
	p.held, p.last = nil, signed
	p.cadence.made(start)
	p.update(func(s *ProducerStats) {
		s.Produced++
		s.LastHeight, s.LastTime, s.LastAt = signed.Height(), signed.Header.Time(), time.Now()
	})
	if e := p.p.Log.Check(zap.DebugLevel, "block made"); e != nil {
		e.Write(zap.Uint64("height", signed.Height()), zap.Int("txs", len(signed.Data.Txs)), zap.String("hash", signed.Header.Digest().Short()),
			zap.Stringer("source", block.SourceLocal), tracelog.IDs(ctx))
	}
	p.broadcast(ctx, signed, news)
	return nil
}

// time waits while the block to be made would be too far in the future, and for DA to
// tell the time where the first block of this process would be dated far after the
// last one.
func (p *Producer) time(ctx context.Context, st block.State) error {
	const subject = "block time"
	for p.held == nil && st.Started() && p.clock.unheard() && p.clock.now().Sub(st.LastTime) > block.MaxFuture {
		p.waiting("DA to tell the time")
		p.beat.Busy() // the wait ends by itself
		if _, err := sleep(ctx, p.cfg.PollInterval, nil); err != nil {
			return err
		}
	}
	earliest := st.LastTime
	if p.held != nil {
		earliest = p.held.Header.Time()
	}
	for {
		ahead := earliest.Sub(p.clock.now())
		if ahead <= maxAhead {
			p.p.Problems.Clear(problems.Clock, subject)
			p.waiting("")
			return nil
		}
		p.p.Problems.Report(problems.Problem{Kind: problems.Clock, Subject: subject, Unready: true, Reason: fmt.Sprintf(
			"block %d may not be older than %s, which is %s ahead of the clock: blocks are made again then; set the clock right if it is behind",
			st.NextHeight(), earliest.UTC().Format(time.RFC3339), ahead.Round(time.Second))})
		p.waiting("the clock to reach the block time", zap.Time("block_time", earliest), zap.Duration("ahead", ahead))
		p.beat.Busy() // the wait ends by itself
		if _, err := sleep(ctx, min(ahead-maxAhead, time.Second), nil); err != nil {
			return err
		}
	}
}

// build makes the next block, unsigned, and writes it down.
func (p *Producer) build(ctx context.Context, st block.State) (block.Block, error) {
	lastData, err := p.lastDataHash(ctx, st)
	if err != nil {
		return block.Block{}, err
	}
	txs, at, err := p.forced(ctx, st)
	if err != nil {
		return block.Block{}, err
	}
	if !p.p.Forced.Only() {
		p.reap(ctx) // from here on nothing may fail before it is written down
		p.queue.remove(txs)
		txs = append(txs, p.queue.take(p.room()-size(txs))...)
	}
	data := block.NewData(&block.Metadata{
		ChainID: st.ChainID, Height: st.NextHeight(), Time: p.blockTime(st, at), LastDataHash: lastData,
	}, txs)
	commitment := data.Commitment()
	h := block.Header{
		Height: data.Metadata.Height, Time: data.Metadata.Time, LastHeaderHash: st.LastHeaderHash, DataHash: commitment[:],
		AppHash: st.AppHash, ProposerAddress: p.signer.Address, ChainID: st.ChainID,
	}
	b := block.Block{Header: block.NewSignedHeader(h, nil, p.signer), Data: data}
	// Before the signature exists: a process that dies after signing must find
	// this very payload again. The fsync comes with the signature, see sign.
	// Also when asked to stop: the mempool has given its transactions away.
	err = p.retry(ctx, func() error { return p.p.Store.SavePending(context.WithoutCancel(ctx), b, p.queue.change(), false) })
	if err != nil {
		return block.Block{}, fmt.Errorf("write block %d down: %w", b.Height(), err)
	}
	p.kept()
	return b, nil
}

// forced returns what the next block has to begin with.
func (p *Producer) forced(ctx context.Context, st block.State) (txs [][]byte, at time.Time, err error) {
	err = p.retry(ctx, func() error {
		txs, at, err = p.p.Forced.Take(ctx, st, p.room())
		return err
	})
	if err != nil {
		return nil, at, fmt.Errorf("forced transactions for block %d: %w", st.NextHeight(), err)
	}
	return txs, at, nil
}

// room returns how many bytes of transactions the next block may hold: no more than
// DA is known to take.
func (p *Producer) room() int {
	most := p.cfg.MaxBlockBytes
	if p.p.Room == nil {
		return most
	}
	if n := p.p.Room(); n > 0 {
		most = min(most, max(n-maxEnvelope, 1))
	}
	return most
}

// largestTx returns how many bytes a transaction may have that DA takes as part of a
// block; 0 without a known limit.
func (p *Producer) largestTx() int {
	const framing = 8
	if p.p.Room() == 0 {
		return 0
	}
	return max(p.room()-framing, 1)
}

// size returns what transactions take of a block.
func size(txs [][]byte) int {
	n := 0
	for _, tx := range txs {
		n += block.FramedTx(tx)
	}
	return n
}

// blockTime returns the time of the next block: the genesis time at first, then
// the wall clock or, with forced transactions, the time at which DA has them, as
// far as peers will take that. It is never before the last block.
func (p *Producer) blockTime(st block.State, forcedAt time.Time) uint64 {
	t, now := p.p.Genesis.StartTime, p.clock.limited()
	switch {
	case !st.Started():
	case forcedAt.IsZero():
		t = latest(now, st.LastTime)
	case forcedAt.After(now.Add(maxAhead)): // DA's clock or ours is wrong
		t = latest(now.Add(maxAhead), st.LastTime)
	default:
		t = latest(forcedAt, st.LastTime)
	}
	return uint64(t.UnixNano())
}

// lastDataHash returns the hash of the last block's data, nothing at first.
func (p *Producer) lastDataHash(ctx context.Context, st block.State) ([]byte, error) {
	if !st.Started() {
		return nil, nil
	}
	if p.last.Header != nil && bytes.Equal(p.last.Header.Hash(), st.LastHeaderHash) {
		return p.last.Data.Hash(), nil
	}
	ds, err := p.p.Data.GetRange(ctx, st.LastHeight, st.LastHeight+1)
	if err != nil {
		return nil, fmt.Errorf("read data %d: %w", st.LastHeight, err)
	}
	if len(ds) == 0 {
		return nil, fmt.Errorf("data of the applied block %d is not stored", st.LastHeight)
	}
	return ds[0].Hash(), nil
}

// reap moves transactions from the mempool to the queue while it holds less than a
// block, and less than half its bound: small transactions take many times their
// bytes in memory, and those that do not fit are lost. A mempool that cannot be read does not stop the chain.
func (p *Producer) reap(ctx context.Context) {
	most := p.room()
	if n := p.queue.fit(most); n > 0 {
		p.p.Log.Warn("transactions that fit no block are dropped", zap.Int("count", n), zap.Int("max_block_bytes", most))
	}
	if p.queue.bytes >= most || p.queue.held >= p.queue.limit/2 {
		return
	}
	ctx, span := p.p.Tracer.Step(ctx, names.SpanReap)
	defer span.End()
	// A whole block is asked for even when the queue holds a part of one: an
	// executor may drop what exceeds the bound it is given.
	txs, err := p.p.Executor.GetTxs(ctx, most)
	if err != nil {
		if ctx.Err() == nil {
			p.reaping.note(span.Fail(err))
		}
		return
	}
	p.reaping.clear()
	tooBig, dropped := p.queue.tooBig, p.queue.dropped
	if added := p.queue.add(txs); span.Recording() {
		span.SetAttributes(attribute.Int(names.AttrTxCount, added))
	}
	if n := p.queue.tooBig - tooBig; n > 0 {
		p.p.Log.Warn("transactions that fit no block are dropped", zap.Uint64("count", n), zap.Int("max_block_bytes", most))
	}
	if n := p.queue.dropped - dropped; n > 0 {
		p.p.Log.Warn("transactions are dropped, the queue is full", zap.Uint64("count", n), zap.Int("max_queue_bytes", p.cfg.MaxQueueBytes))
	}
	p.update(func(s *ProducerStats) { s.DroppedTxs = p.queue.tooBig + p.queue.dropped })
}

// sign signs the header while the disk takes the block that was written down: what
// is signed can be made again, byte for byte, whatever becomes of the machine. It
// may be called again for the same block: the payload stays the same.
func (p *Producer) sign(ctx context.Context, b block.Block) (block.Block, error) {
	ctx, span := p.p.Tracer.Step(ctx, names.SpanSign)
	defer span.End()
	sync := func() error {
		if err := p.retry(ctx, func() error { return p.p.Store.Sync(ctx) }); err != nil {
			return fmt.Errorf("write block %d to the disk: %w", b.Height(), err)
		}
		return nil
	}
	synced := make(chan error, 1)
	if _, ok := p.p.Signer.(Disowner); ok {
		go func() { synced <- sync() }()
	} else if err := sync(); err != nil { // nothing is signed that may be lost
		return block.Block{}, span.Fail(err)
	} else {
		synced <- nil
	}
	var signature []byte
	signErr := p.retry(ctx, func() (err error) {
		signature, err = p.p.Signer.Sign(ctx, block.HeaderMessage(b.Header))
		return err
	})
	if err := <-synced; err != nil {
		return block.Block{}, span.Fail(err)
	}
	if signErr != nil {
		return block.Block{}, span.Fail(fmt.Errorf("sign block %d: %w", b.Height(), signErr))
	}
	return block.Block{Header: block.NewSignedHeader(b.Header.Header, signature, p.signer), Data: b.Data}, nil
}

func (p *Producer) apply(ctx context.Context, b block.Block) error {
	err := p.retry(ctx, func() error {
		err := p.p.Chain.Apply(ctx, []block.Block{b}, block.SourceLocal)
		if err != nil && p.p.Chain.State().LastHeight >= b.Height() {
			// Committed although something after it went wrong: whether it was
			// this block, the link of the next one will tell.
			if bytes.Equal(p.p.Chain.State().LastHeaderHash, b.Header.Hash()) {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("apply block %d: %w", b.Height(), err)
	}
	if got := p.p.Chain.State(); got.LastHeight < b.Height() || (got.LastHeight == b.Height() && !bytes.Equal(got.LastHeaderHash, b.Header.Hash())) {
		return fmt.Errorf("apply block %d: the chain is at %d with another block", b.Height(), got.LastHeight)
	}
	return nil
}

// retry calls f until it succeeds, cannot succeed, or was tried often enough.
func (p *Producer) retry(ctx context.Context, f func() error) error {
	wait := backoff{first: p.cfg.RetryDelay, most: p.cfg.RetryMaxDelay}
	for try := 1; ; try++ {
		p.beat.Busy()
		err := f()
		switch {
		case err == nil:
			p.making.clear()
			return nil
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		case permanent(err):
			return err
		case try >= p.cfg.ExecuteTries:
			return fmt.Errorf("gave up after %d tries: %w", try, err)
		}
		p.making.note(err)
		if _, err := sleep(ctx, wait.step(), nil); err != nil {
			return err
		}
	}
}

// announcement is the gossip about a block, made while the block is applied.
type announcement struct {
	drop func() // gives up and waits
	done chan struct{}
	send func() error // of done on
	err  error        // of done on
}

func (p *Producer) announce(ctx context.Context, b block.Block) *announcement {
	limited, cancel := context.WithTimeout(ctx, p.cfg.BroadcastTimeout)
	a := &announcement{done: make(chan struct{})}
	a.drop = func() {
		cancel()
		<-a.done
	}
	go func() {
		defer close(a.done)
		a.send, a.err = p.p.Broadcaster.Prepare(limited, b)
	}()
	return a
}

// publish sends what was prepared.
func (a *announcement) publish() error {
	<-a.done
	if a.err != nil {
		return a.err
	}
	return a.send()
}

// broadcast gossips a committed block. Peers that miss it ask for it.
func (p *Producer) broadcast(ctx context.Context, b block.Block, news *announcement) {
	of := blocktrace.One(b.Height())
	of.Kind = trace.SpanKindProducer
	_, span := p.p.Tracer.Start(ctx, names.SpanBroadcast, of)
	defer span.End()
	if span.Recording() {
		span.SetAttributes(
			attribute.String(names.AttrMessagingOperation, names.OperationSend), attribute.String(names.AttrMessagingName, names.OperationSend),
			attribute.String(names.AttrMessagingDestination, names.DestinationGossip),
		)
	}
	if err := news.publish(); err != nil {
		if ctx.Err() == nil {
			p.broadcasting.note(span.Fail(err), zap.Uint64("height", b.Height()))
		}
		return
	}
	p.broadcasting.clear()
}
