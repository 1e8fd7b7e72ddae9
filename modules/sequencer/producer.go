package sequencer

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/beat"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
)

// ProducerParams is what a Producer is made of.
type ProducerParams struct {
	Config      Config
	Genesis     block.Genesis
	Signer      Signer
	Chain       Chain
	Store       Store
	Headers     Reader[*block.SignedHeader]
	Data        Reader[*block.Data]
	Executor    Executor
	Broadcaster Broadcaster
	Elsewhere   Elsewhere        // nil: nowhere
	Forced      Forced           // nil: NoForced
	Posted      Posted           // nil: production never pauses
	Now         func() time.Time // wall clock for block times; nil: time.Now
	Log         *zap.Logger
	Tracer      *blocktrace.Tracer // nil: none
}

// Producer makes blocks. All methods may be used from many goroutines; Run only
// once.
type Producer struct {
	p       ProducerParams
	cfg     Config
	signer  block.Signer
	queue   *queue
	cadence cadence
	backlog backlog

	held *block.Block // written down, not applied yet
	last block.Block  // the last block made here

	reaping      trouble
	keeping      trouble
	broadcasting trouble
	making       trouble

	beat  beat.Beat
	mu    sync.Mutex
	stats ProducerStats
}

// ProducerStats is a snapshot of what a Producer does.
type ProducerStats struct {
	Produced     uint64    // blocks made since start
	LastHeight   uint64    // of the last one, 0 before it
	LastTime     time.Time // of the last one
	QueuedTxs    int       // taken from the mempool, waiting for room
	QueuedBytes  int
	DroppedTxs   uint64 // too large for any block, or over the queue's limit
	Paused       bool   // too many blocks wait for DA
	OutOfOffice  bool   // the next block is for another proposer to sign
	WaitingFor   string // empty while the cadence is all that is waited for
	LastError    string // the failure that goes on, or nothing
	PendingLimit uint64 // Config.MaxPending
}

// NewProducer returns a Producer that does nothing until Run.
func NewProducer(p ProducerParams) *Producer {
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Forced == nil {
		p.Forced = NoForced{}
	}
	log := p.Log
	return &Producer{
		p: p, cfg: p.Config, signer: block.NewSigner(p.Signer.Public()),
		queue:        newQueue(p.Config.MaxBlockBytes, p.Config.MaxQueueBytes),
		cadence:      cadence{cfg: p.Config},
		backlog:      backlog{most: p.Config.MaxPending, first: p.Genesis.InitialHeight, headers: p.Headers},
		reaping:      trouble{log: log, failed: "mempool cannot be read", over: "mempool can be read again"},
		keeping:      trouble{log: log, failed: "waiting transactions are not written down", over: "waiting transactions are written down again"},
		broadcasting: trouble{log: log, failed: "block not broadcast", over: "blocks are broadcast again"},
		making:       trouble{log: log, failed: "block not applied, trying again", over: "blocks are applied again"},
		stats:        ProducerStats{PendingLimit: p.Config.MaxPending},
	}
}

// Beat tells for how long Run has been busy with one attempt to make a block.
func (p *Producer) Beat() *beat.Beat { return &p.beat }

// Stats returns what the Producer is doing.
func (p *Producer) Stats() ProducerStats {
	p.mu.Lock()
	s := p.stats
	p.mu.Unlock()
	for _, t := range []*trouble{&p.making, &p.reaping, &p.keeping, &p.broadcasting} {
		if s.LastError == "" {
			s.LastError = t.text()
		}
	}
	return s
}

func (p *Producer) update(f func(*ProducerStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// waiting says in the status what is waited for, and logs the change.
func (p *Producer) waiting(what string, fields ...zap.Field) {
	p.mu.Lock()
	changed := p.stats.WaitingFor != what
	p.stats.WaitingFor = what
	p.mu.Unlock()
	if changed && what != "" {
		p.p.Log.Info("block production waits", append(fields, zap.String("for", what))...)
	}
}

// Run makes blocks until ctx ends. An error means that no more blocks can be
// made by this process.
func (p *Producer) Run(ctx context.Context) error {
	err := p.run(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // asked to stop
	}
	return err
}

func (p *Producer) run(ctx context.Context) error {
	if err := p.inOffice(ctx); err != nil {
		return err
	}
	if err := p.settle(ctx); err != nil {
		return err
	}
	p.cadence.start(p.p.Chain.State(), p.p.Now())
	for {
		if err := p.inOffice(ctx); err != nil {
			return err
		}
		if err := p.turn(ctx); err != nil {
			return err
		}
		if err := p.roomOnDA(ctx); err != nil {
			return err
		}
		if err := p.caughtUp(ctx); err != nil {
			return err
		}
		if err := p.step(ctx); err != nil {
			return err
		}
	}
}

// proposes reports whether the state names this node's key for the next block.
func (p *Producer) proposes(st block.State) bool {
	return bytes.Equal(st.NextProposer, p.signer.Address)
}

// inOffice waits while the next block is for another proposer to sign: the node
// follows like any other until a block names its key (ADR 015).
func (p *Producer) inOffice(ctx context.Context) error {
	waited := false
	for {
		changed := p.p.Chain.Changed()
		st := p.p.Chain.State()
		if p.proposes(st) {
			break
		}
		waited = true
		p.update(func(s *ProducerStats) { s.OutOfOffice = true })
		p.waiting(fmt.Sprintf("its turn: proposer %X signs the next block", st.NextProposer), zap.Uint64("height", st.NextHeight()))
		if err := await(ctx, changed); err != nil {
			return err
		}
	}
	if waited {
		p.update(func(s *ProducerStats) { s.OutOfOffice = false })
		p.waiting("")
		p.p.Log.Info("this node is the proposer now", zap.Uint64("height", p.p.Chain.State().NextHeight()))
		p.cadence.start(p.p.Chain.State(), p.p.Now())
	}
	return nil
}

// settle waits until blocks may be made at all and finishes the block that an
// earlier process has left behind.
func (p *Producer) settle(ctx context.Context) error {
	if err := p.idle(ctx); err != nil {
		return err
	}
	if p.cfg.StartGrace > 0 {
		p.waiting("blocks from others, after the start")
		if _, err := sleep(ctx, p.cfg.StartGrace, nil); err != nil {
			return err
		}
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	if err := p.caughtUp(ctx); err != nil {
		return err
	}
	if err := p.genesisTime(ctx); err != nil {
		return err
	}
	return p.resume(ctx)
}

// resume takes up what an earlier process has left: its queue and the block it
// was making.
func (p *Producer) resume(ctx context.Context) error {
	st := p.p.Chain.State()
	b, ok, err := p.p.Store.Pending(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read pending block: %w", err)
	case !ok:
		return p.recall(ctx, nil)
	case b.Height() < st.NextHeight():
		return p.recall(ctx, &b)
	case b.Height() > st.NextHeight():
		return fmt.Errorf("a block of height %d was begun here, but the chain ends at %d: the chain's database has lost blocks, restore it",
			b.Height(), st.LastHeight)
	}
	if err := p.fits(st, b); err != nil {
		// Nobody has seen it: what was broadcast was applied before, and is no longer pending.
		p.p.Log.Warn("pending block does not fit the chain and is dropped", zap.Uint64("height", b.Height()), zap.Error(err))
		return p.recall(ctx, &b)
	}
	if err := p.recall(ctx, nil); err != nil {
		return err
	}
	p.p.Log.Info("pending block found, going on with it", zap.Uint64("height", b.Height()))
	p.held = &b
	if err := p.roomOnDA(ctx); err != nil {
		return err
	}
	return p.step(ctx)
}

// fits reports whether a pending block may be the next one.
func (p *Producer) fits(st block.State, b block.Block) error {
	if b.Data == nil {
		return fmt.Errorf("block %d has no data", b.Height())
	}
	if err := block.VerifyNext(st, b.Header); err != nil {
		return err
	}
	if !bytes.Equal(b.Header.Header.ProposerAddress, p.signer.Address) {
		return fmt.Errorf("block %d is of proposer %X", b.Height(), b.Header.Header.ProposerAddress)
	}
	return block.VerifyData(b.Header, b.Data)
}

// genesisTime waits for the start time of a chain that has no block yet.
func (p *Producer) genesisTime(ctx context.Context) error {
	for !p.p.Chain.State().Started() {
		left := p.p.Genesis.StartTime.Sub(p.p.Now())
		if left <= 0 {
			break
		}
		p.waiting("the genesis start time", zap.Time("start_time", p.p.Genesis.StartTime))
		if _, err := sleep(ctx, left, p.p.Chain.Changed()); err != nil {
			return err
		}
	}
	p.waiting("")
	return nil
}

// caughtUp waits while a block higher than the applied chain is known: all of
// them were made with this key, so making another one would sign twice.
func (p *Producer) caughtUp(ctx context.Context) error {
	for {
		changed := p.p.Chain.Changed()
		applied, known := p.p.Chain.State().LastHeight, p.p.Headers.Height()
		if a, ok := p.p.Chain.(interface{ Ahead() uint64 }); ok {
			known = max(known, a.Ahead())
		}
		if known <= applied {
			p.waiting("")
			return nil
		}
		what := "stored blocks to be applied"
		if known > p.p.Headers.Height() {
			what = "blocks of this chain that peers have"
		}
		p.waiting(what, zap.Uint64("applied", applied), zap.Uint64("known", known))
		if _, err := sleep(ctx, time.Second, changed); err != nil { // what peers claim may turn out to be nothing
			return err
		}
	}
}

// roomOnDA waits while too many blocks wait for DA.
func (p *Producer) roomOnDA(ctx context.Context) error {
	if p.p.Posted == nil || p.cfg.MaxPending == 0 {
		return nil
	}
	paused := false
	for {
		progress := p.p.Posted.Progress()
		header, data := p.p.Posted.Submitted()
		n, err := p.backlog.count(ctx, p.p.Chain.State().LastHeight, header, data)
		if err != nil {
			return err
		}
		if n < p.cfg.MaxPending {
			break
		}
		if !paused {
			paused = true
			p.p.Log.Warn("too many blocks wait for DA, production pauses", zap.Uint64("waiting", n), zap.Uint64("limit", p.cfg.MaxPending))
			p.update(func(s *ProducerStats) { s.Paused, s.WaitingFor = true, "DA to take the blocks that wait" })
		}
		if err := await(ctx, progress); err != nil {
			return err
		}
	}
	if paused {
		p.p.Log.Info("production goes on, DA has taken blocks")
		p.update(func(s *ProducerStats) { s.Paused, s.WaitingFor = false, "" })
	}
	return nil
}
