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
	"github.com/tandem-node/tandem/telemetry/problems"
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
	Room        func() int       // bytes that DA takes at once, 0 without a known limit; nil: none
	Now         func() time.Time // wall clock for block times; nil: time.Now
	DATime      func() DATime    // nil: nothing is known of DA's time
	Problems    *problems.Board  // nil: nobody reads them
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
	clock   *steady
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
	LastAt       time.Time // when it was made, by the monotonic clock
	QueuedTxs    int       // taken from the mempool, waiting for room
	QueuedBytes  int       // as they lie in memory
	DroppedTxs   uint64    // too large for any block, or over the queue's limit
	Paused       bool      // too many blocks wait for DA
	OutOfOffice  bool      // the next block is for another proposer to sign
	WaitingFor   string    // empty while the cadence is all that is waited for
	LastError    string    // the failure that goes on, or nothing
	PendingLimit uint64    // Config.MaxPending
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
	out := &Producer{
		p: p, cfg: p.Config, signer: block.NewSigner(p.Signer.Public()),
		queue:        newQueue(p.Config.MaxBlockBytes, p.Config.MaxQueueBytes),
		cadence:      cadence{cfg: p.Config},
		clock:        newSteady(p.Now, p.DATime, p.Problems),
		backlog:      backlog{most: p.Config.MaxPending, first: p.Genesis.InitialHeight, headers: p.Headers},
		reaping:      trouble{log: log, failed: "mempool cannot be read", over: "mempool can be read again"},
		keeping:      trouble{log: log, failed: "waiting transactions are not written down", over: "waiting transactions are written down again"},
		broadcasting: trouble{log: log, failed: "block not broadcast", over: "blocks are broadcast again"},
		making:       trouble{log: log, failed: "block not applied, trying again", over: "blocks are applied again"},
		stats:        ProducerStats{PendingLimit: p.Config.MaxPending},
	}
	if l, ok := p.Executor.(TxLimiter); ok && p.Room != nil {
		l.LimitTxs(out.largestTx)
	}
	return out
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
	p.cadence.start(p.p.Chain.State(), p.clock.now())
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
		p.cadence.start(p.p.Chain.State(), p.clock.now())
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
	b, err := p.pending(ctx)
	switch {
	case err != nil:
		return err
	case b == nil:
		return p.recall(ctx, nil)
	case b.Height() < st.NextHeight():
		return p.recall(ctx, b)
	}
	if err := p.fits(st, *b); err != nil {
		// It was not signed: begin waits for what was.
		p.p.Log.Warn("pending block does not fit the chain and is dropped", zap.Uint64("height", b.Height()), zap.Error(err))
		return p.recall(ctx, b)
	}
	if err := p.recall(ctx, nil); err != nil {
		return err
	}
	p.p.Log.Info("pending block found, going on with it", zap.Uint64("height", b.Height()))
	p.held = b
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
		left := p.p.Genesis.StartTime.Sub(p.clock.now())
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
		what, fields, err := p.behind(ctx)
		if err != nil {
			return err
		}
		p.waiting(what, fields...)
		if what == "" {
			return nil
		}
		if _, err := sleep(ctx, time.Second, changed); err != nil { // what peers claim may turn out to be nothing
			return err
		}
	}
}

// behind says what the applied chain lacks before the next block may be made, ""
// if nothing.
func (p *Producer) behind(ctx context.Context) (string, []zap.Field, error) {
	if b, ok := p.p.Chain.(interface{ Busy() string }); ok && b.Busy() != "" {
		return b.Busy(), nil, nil
	}
	applied, stored := p.p.Chain.State().LastHeight, p.p.Headers.Height()
	known := stored
	if a, ok := p.p.Chain.(interface{ Ahead() uint64 }); ok {
		known = max(known, a.Ahead())
	}
	if known <= applied {
		return "", nil, nil
	}
	if finishable, err := p.finishable(ctx, known); finishable || err != nil {
		return "", nil, err
	}
	what := "stored blocks to be applied"
	if known > stored {
		what = "blocks of this chain that peers have"
	}
	return what, []zap.Field{zap.Uint64("applied", applied), zap.Uint64("known", known)}, nil
}

// finishable reports whether the newest block that is known is the next one and is
// pending here: its header came back from a peer or from DA, its data may be
// nowhere else.
func (p *Producer) finishable(ctx context.Context, known uint64) (bool, error) {
	st := p.p.Chain.State()
	if known != st.NextHeight() || p.p.Headers.Height() != known {
		return false, nil
	}
	b, err := p.pending(ctx)
	if err != nil || b == nil || b.Height() != known || p.fits(st, *b) != nil {
		return false, err
	}
	hs, err := p.p.Headers.GetRange(ctx, known, known+1)
	if err != nil || len(hs) != 1 {
		return false, err //nolint:wrapcheck // what is not there now is looked for again
	}
	return block.HeaderMessage(hs[0]).Mark() == block.HeaderMessage(b.Header).Mark(), nil
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
