package syncer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/beat"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/telemetry/stages"
)

// Source is what the syncer needs of a store.
type Source[H any] interface {
	// Height returns the height up to which the store holds every item. It does
	// not block.
	Height() uint64
	// GetRange returns the items of [from, to) or, where those are too many
	// bytes, as many of the first ones as the store deems right.
	GetRange(ctx context.Context, from, to uint64) ([]H, error)
}

// Sink applies blocks.
type Sink interface {
	// Next returns the height the sink wants next. It may move at any time; who
	// moves it down without a write to the stores publishes an event for it.
	Next() uint64
	// Apply takes consecutive blocks and returns when they are applied. Blocks
	// below Next are not an error. The slice is the sink's to keep.
	Apply(ctx context.Context, blocks []block.Block, src block.Source) error
}

// Params are the parts of a Syncer.
type Params struct {
	Headers  Source[*block.SignedHeader]
	Data     Source[*block.Data] // nil where only headers are followed
	Sink     Sink
	Notifier *notifier.Notifier
	Config   Config
	Log      *zap.Logger
	Tracer   *blocktrace.Tracer // nil where nothing is traced
	Stages   *stages.Recorder   // nil where nothing is measured
	Problems *problems.Board    // nil where nobody asks
	Hold     Hold               // nil where nothing holds
	Now      func() time.Time   // wall clock, for messages; nil: time.Now
}

// Hold returns why no block may be applied now, nil while blocks may be.
type Hold func() error

// Syncer keeps a sink at the height of the stores.
type Syncer struct {
	headers Source[*block.SignedHeader]
	data    Source[*block.Data]
	sink    Sink
	events  *notifier.Notifier
	cfg     Config
	log     *zap.Logger
	tracer  *blocktrace.Tracer
	stages  *stages.Recorder
	board   *problems.Board
	hold    Hold
	now     func() time.Time

	// Of Run's goroutine.
	inbox inbox
	retry retry
	ahead *ahead
	// refusedAt is the height of a block that was refused and is read again; 0
	// when there is none.
	refusedAt uint64

	beat    beat.Beat
	count   counters
	failure atomic.Pointer[string] // why the last pass failed; nil when it did not
}

// New returns a syncer that does nothing until Run.
func New(p Params) *Syncer {
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Hold == nil {
		p.Hold = func() error { return nil }
	}
	return &Syncer{
		hold: p.Hold, now: p.Now,
		headers: p.Headers, data: p.Data, sink: p.Sink, events: p.Notifier, cfg: p.Config, log: p.Log,
		tracer: p.Tracer, stages: p.Stages, board: p.Problems, retry: retry{least: p.Config.RetryMin, most: p.Config.RetryMax},
	}
}

// Run keeps the sink at the height of the stores. It returns nil when ctx ends
// and an error when the sink refuses a block for good; every other failure is
// retried. One Run at a time.
func (s *Syncer) Run(ctx context.Context) error {
	s.inbox = s.openInbox()
	defer s.inbox.close()
	defer s.dropAhead()
	defer s.beat.Idle()
	for {
		s.beat.Busy()
		err := s.catchUp(ctx)
		switch next := s.sink.Next(); {
		case ctx.Err() != nil:
			return nil // asked to stop: whatever failed failed for that reason
		case err == nil:
			s.healthy()
			s.wait(ctx)
		case halted(err), refused(err) && next == s.refusedAt:
			return err
		case refused(err):
			// A rollback may have replaced what was read before the sink saw
			// it. Only what is refused again after a fresh read is refused.
			s.refusedAt = next
			s.log.Debug("block refused, reading it again", zap.Error(err))
		default:
			s.failed(err)
			s.backOff(ctx)
		}
	}
}

// Beat tells for how long Run has been busy with one range of blocks.
func (s *Syncer) Beat() *beat.Beat { return &s.beat }

// catchUp works until the sink has everything the stores hold.
func (s *Syncer) catchUp(ctx context.Context) error {
	next, head := s.look()
	for next <= head && ctx.Err() == nil {
		s.beat.Busy()
		if err := s.hold(); err != nil {
			return err
		}
		if err := s.advance(ctx, next, head); err != nil {
			return err
		}
		next, head = s.look()
	}
	return nil
}

// look returns the height the sink wants and the one the stores reach. The
// events heard so far are dealt with by it, so they are taken first: one that
// comes later stays and ends the next wait.
func (s *Syncer) look() (next, head uint64) {
	s.count.events.Add(s.inbox.drain())
	next, head = s.sink.Next(), s.head()
	s.inbox.origins.forget(next)
	return next, head
}

func (s *Syncer) head() uint64 {
	if s.data == nil {
		return s.headers.Height()
	}
	return min(s.headers.Height(), s.data.Height())
}

// advance moves one range of blocks, of which the stores hold all up to head.
func (s *Syncer) advance(ctx context.Context, next, head uint64) error {
	ctx, span := s.receive(ctx, next, s.last(next, head))
	defer span.End()
	began := time.Now()
	if heard := s.inbox.complete(); !heard.IsZero() {
		s.stages.Fetched(ctx, began.Sub(heard))
	}
	blocks, err := s.take(ctx, next, head)
	if err != nil {
		return span.Fail(fmt.Errorf("fetch from block %d: %w", next, err))
	}
	last := blocks[len(blocks)-1].Height()
	s.readAhead(ctx, last+1, head)
	if err := s.sink.Apply(ctx, blocks, s.inbox.origins.of(last)); err != nil {
		s.dropAhead()
		return span.Fail(fmt.Errorf("apply blocks %d to %d: %w", next, last, err))
	}
	if s.sink.Next() <= next {
		return fmt.Errorf("sink took blocks %d to %d and still wants %d", next, last, next)
	}
	s.stages.Applied(ctx, time.Since(began))
	s.count.blocks.Add(uint64(len(blocks)))
	s.healthy()
	return nil
}

// wait returns when there may be something new. It costs nothing meanwhile.
func (s *Syncer) wait(ctx context.Context) {
	s.beat.Idle()
	if s.inbox.wait(ctx, nil) {
		s.count.wakeups.Add(1)
	}
}
