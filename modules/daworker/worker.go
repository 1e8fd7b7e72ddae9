package daworker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/beat"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Sink takes what was seen on DA. Include must persist both before it returns
// nil: read says how far DA was read, and its positions may be lower than those
// before. Repeats are normal; the first per height and kind stands.
// A header that differs from the stored one comes with Header set; it comes again
// after an error. An error with RewindTo() means that the stores were rolled back,
// and names the DA height from which everything has to be read and reported again.
// An error with Permanent() true, a *block.Violation or a *block.Conflict stops
// the worker; after any other it tries again with the same inclusions.
type Sink interface {
	Include(ctx context.Context, incs []block.Inclusion, read block.DAPositions) error
}

// Proposers knows who must sign. It may be called from several goroutines.
type Proposers interface {
	// Judge says whether an address may sign a height.
	Judge(height uint64, address []byte) block.Standing
	// Changed returns a channel that is closed when Judge may say something else.
	Changed() <-chan struct{}
}

// Marks says what of the chain was seen on DA, and what was applied.
type Marks interface {
	// Applied and Final return block heights, 0 before the first.
	Applied() uint64
	Final() uint64
	// Included returns the highest block height of which any half was seen, 0 for none.
	Included() uint64
	// Inclusion says where the halves of a block were seen, zero when they were not.
	Inclusion(ctx context.Context, height uint64) (block.Included, error)
}

// Store is what the worker needs of a header or data store.
type Store[H any] interface {
	// Height returns the highest contiguous height, 0 when empty.
	Height() uint64
	// GetRange returns items of [from, to), at least one when from is stored. It does not block.
	GetRange(ctx context.Context, from, to uint64) ([]H, error)
	// Append stores items; they are visible when it returns.
	Append(ctx context.Context, items ...H) error
}

// Params are the parts of a worker.
type Params struct {
	Client  da.Client
	Genesis block.Genesis
	// HeaderNS and DataNS may be the same.
	HeaderNS, DataNS da.Namespace
	Headers          Store[*block.SignedHeader]
	Data             Store[*block.Data] // nil with HeadersOnly
	Sink             Sink
	Proposers        Proposers
	// Refuted reports whether execution has refuted a header; nil refutes none.
	Refuted func(block.Hash) bool
	// DA returns the persisted positions, zero when there are none. It is called when Run starts.
	DA func() block.DAPositions
	// Marks says what the Sink was told so far.
	Marks Marks
	// Problems hears of what lasts; nil hears nothing.
	Problems *problems.Board
	// HeaderName and DataName are the names of the namespaces in the configuration,
	// for messages.
	HeaderName, DataName string
	// LocalCtx marks the context of appends as local; nil leaves it as it is.
	LocalCtx func(context.Context) context.Context
	// Blame hears of peers whose hints were wrong; nil hears nothing. It must not
	// block.
	Blame func(peer string, err error)
	// HeadersOnly leaves the data namespace alone.
	HeadersOnly bool
	Config      Config
	Log         *zap.Logger        // nil is silent
	Tracer      *blocktrace.Tracer // nil traces nothing
	Now         func() time.Time   // nil is time.Now
}

// Worker reads the chain from DA. Build it with New.
type Worker struct {
	p      Params
	status atomic.Pointer[snapshot]
	turned atomic.Pointer[chan struct{}] // closed when the phase changes
	wake   chan struct{}
	rewind atomic.Uint64
	beat   beat.Beat
	hints  hints
	// prefetched counts the bytes read ahead; Status shows them as they are now.
	prefetched atomic.Int64
}

// New returns a worker that does nothing until Run.
func New(p Params) *Worker {
	if p.LocalCtx == nil {
		p.LocalCtx = func(ctx context.Context) context.Context { return ctx }
	}
	if p.Refuted == nil {
		p.Refuted = func(block.Hash) bool { return false }
	}
	if p.Log == nil {
		p.Log = zap.NewNop()
	}
	if p.HeaderName == "" {
		p.HeaderName, p.DataName = p.HeaderNS.String(), p.DataNS.String()
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	w := &Worker{p: p, wake: make(chan struct{}, 1)}
	w.status.Store(&snapshot{Status: Status{Phase: PhaseStarting}})
	turned := make(chan struct{})
	w.turned.Store(&turned)
	return w
}

// Run follows the chain until ctx ends. It returns early only when the Sink
// says that going on makes no sense.
func (w *Worker) Run(parent context.Context) error {
	r := newReader(w)
	ctx, cancel := context.WithCancel(parent)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if w.p.Config.Watch {
		wg.Go(func() { r.watch.run(ctx) })
	}
	defer w.beat.Idle()
	for {
		w.beat.Busy()
		err := r.round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // asked to stop
		case errors.Is(err, da.ErrDisabled):
			r.disabled()
			w.beat.Idle()
			cancel()
			<-parent.Done()
			return nil
		case permanent(err):
			return err
		}
		r.settle(err)
		r.judgeFinality(ctx)
		r.judgeClock()
		if !r.wait(ctx) {
			return nil
		}
	}
}

// permanent reports whether an error is the Sink's and trying again cannot help.
func permanent(err error) bool {
	if _, ok := errors.AsType[sinkError](err); !ok {
		return false
	}
	var (
		marked    interface{ Permanent() bool }
		violation *block.Violation
		headers   *block.Conflict[*block.SignedHeader]
		data      *block.Conflict[*block.Data]
	)
	return errors.As(err, &marked) && marked.Permanent() ||
		errors.As(err, &violation) || errors.As(err, &headers) || errors.As(err, &data)
}

// Status returns the newest snapshot.
func (w *Worker) Status() Status {
	snap := w.status.Load()
	s := snap.Status
	s.Pending.PrefetchBytes, s.Pending.Hints = int(w.prefetched.Load()), w.hints.count()
	s.Pending.HintBytes = s.Pending.Hints * hintSize
	s.Stats.JunkByReason = snap.junk.byName()
	return s
}

// Turned returns a channel that is closed when the phase changes.
func (w *Worker) Turned() <-chan struct{} { return *w.turned.Load() }

// show makes a snapshot the newest.
func (w *Worker) show(s *snapshot) {
	before := w.status.Swap(s)
	if before.Phase != s.Phase {
		next := make(chan struct{})
		close(*w.turned.Swap(&next))
	}
}

// Beat tells for how long Run has been busy with one step: an answer that is
// waited for, or the hand-over of what was read. Calls to DA end by themselves.
func (w *Worker) Beat() *beat.Beat { return &w.beat }

// Wake makes the worker look again now, for example after the stores changed.
// It never blocks.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Rewind makes the worker read again from a DA height at or below its cursor,
// for example after a rollback. It never blocks.
func (w *Worker) Rewind(daHeight uint64) {
	w.rewind.Store(max(daHeight, 1))
	w.Wake()
}
