package daworker

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// Sink takes what was seen on DA. Include must persist both before it returns
// nil: cursor is the DA height the next start reads from, and it may be lower
// than the one before. Repeats are normal; the first per height and kind stands.
// An error with Permanent() true, a *block.Violation or a *block.Conflict stops
// the worker; after any other it tries again with the same inclusions.
type Sink interface {
	Include(ctx context.Context, incs []block.Inclusion, cursor uint64) error
}

// Proposers knows who must sign: the address expected at a height, nil when it
// is not known yet. It may be called from several goroutines.
type Proposers interface {
	Expected(height uint64) []byte
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
	// Cursor returns the persisted cursor, 0 when there is none. It is called when Run starts.
	Cursor func() uint64
	// LocalCtx marks the context of appends as local; nil leaves it as it is.
	LocalCtx func(context.Context) context.Context
	// HeadersOnly leaves the data namespace alone.
	HeadersOnly bool
	Config      Config
	Log         *zap.Logger      // nil is silent
	Tracer      trace.Tracer     // nil traces nothing
	Now         func() time.Time // nil is time.Now
}

// Worker reads the chain from DA. Build it with New.
type Worker struct {
	p      Params
	status atomic.Pointer[Status]
	wake   chan struct{}
	rewind atomic.Uint64
}

// New returns a worker that does nothing until Run.
func New(p Params) *Worker {
	w := &Worker{p: p, wake: make(chan struct{}, 1)}
	w.status.Store(&Status{Phase: PhaseStarting})
	return w
}

// Run follows the chain until ctx ends. It returns early only when the Sink
// says that going on makes no sense.
func (w *Worker) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Status returns the newest snapshot.
func (w *Worker) Status() Status { return *w.status.Load() }

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
