package da

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/telemetry/problems"
)

// Pool is a client of several endpoints of one DA chain. Calls go to the
// healthiest; a read that fails there is made at the next, so that callers see
// a failure only when all fail. A submission is made elsewhere only when it is
// certain that nothing was posted: everything else is for the caller to find out,
// by commitment. An endpoint that is not of the DA layer the node was synced from
// is not used; see chain.
//
// Endpoints are ranked by failures, lies, lag and latency, and change places only
// with a clear lead; see endpoint. It keeps no order of preference and makes no
// calls of its own as long as the one it uses does well; see Run.
type Pool struct {
	log     *zap.Logger
	closes  []func()
	wake    chan struct{} // Run is to look at all endpoints
	board   *problems.Board
	began   time.Time
	wall    func() time.Time
	calls   calls
	answers []*allowance // of each endpoint, so that one that stalls takes no room of another

	chain

	mu       sync.Mutex
	all      []*endpoint
	active   [uses]*endpoint
	switched chan struct{} // closed and replaced when reading moves
	head     uint64        // best told lately
	headTime time.Time     // its header's; zero while unknown
	sure     Head          // newest that was believed
	sureAt   time.Time     // when it was
	rose     bool          // it has risen since the pool was made
	moved    time.Time     // when it rose last
	interval time.Duration // from height to height
	measured bool          // by the times of headers
	probed   time.Time
	gap      time.Duration // least time to the next probe
}

var (
	_ Client      = (*Pool)(nil)
	_ BatchReader = (*Pool)(nil)
)

// Params are the parts of a Pool.
type Params struct {
	Config Config
	// Keeper keeps the identity of the DA layer; nil keeps none.
	Keeper Keeper
	// Start is the DA height the node begins at.
	Start uint64
	// Now is the wall clock, which times of DA headers are compared with; nil is time.Now.
	Now   func() time.Time
	Board *problems.Board
	Log   *zap.Logger
	// Dial makes the client of an endpoint; nil makes a Celestia.
	Dial func(address string) (BatchClient, error)
}

// NewPool makes a client of all the endpoints in the config, at least one. It
// connects with the first call.
func NewPool(params Params) (*Pool, error) {
	cfg := params.Config
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := newPool(params.Log)
	p.keeper, p.start, p.board = params.Keeper, params.Start, params.Board
	if params.Now != nil {
		p.wall = params.Now
	}
	for _, address := range cfg.Addresses {
		u, err := url.Parse(address)
		if err != nil {
			return nil, errors.New("da.address is not a URL")
		}
		dial := params.Dial
		if dial == nil {
			dial = p.dial(cfg)
		}
		c, err := dial(address)
		if err != nil {
			return nil, err
		}
		p.add(endpointName(u), counted{c, &p.calls})
	}
	if len(p.all) == 0 {
		return nil, errors.New("da.address is empty, want a URL")
	}
	return p, nil
}

// dial returns what makes clients of Celestia nodes, which share the room for answers.
func (p *Pool) dial(cfg Config) func(address string) (BatchClient, error) {
	return func(address string) (BatchClient, error) {
		c, err := NewCelestia(address, cfg)
		if err != nil {
			return nil, err
		}
		c.answers = newAllowance(cfg.AnswerBytes / len(cfg.Addresses))
		p.answers = append(p.answers, c.answers)
		p.closes = append(p.closes, c.Close)
		return c, nil
	}
}

func newPool(log *zap.Logger) *Pool {
	now := time.Now()
	return &Pool{
		log: log, wall: time.Now, wake: make(chan struct{}, 1), switched: make(chan struct{}), chain: chain{meeting: make(chan struct{}, 1)}, interval: usualInterval, began: now, moved: now,
	}
}

func (p *Pool) add(name string, c Client) {
	p.all = append(p.all, makeEndpoint(name, c))
	for u := range p.active {
		p.active[u] = p.all[0]
	}
}

// Close drops idle connections. Calls in flight go on.
func (p *Pool) Close() {
	for _, closeOne := range p.closes {
		closeOne()
	}
}

// order returns the endpoints in the order in which to ask them, the active one
// first. Those from which the height is gone come last.
func (p *Pool) order(u use, height uint64) []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) == 1 {
		return p.all
	}
	now := time.Now()
	type ranked struct {
		*endpoint

		gone  bool
		score float64
	}
	list := make([]ranked, 0, len(p.all))
	for _, e := range p.all {
		if e.foreign && now.Sub(e.foreignAt) < foreignRetry {
			continue
		}
		r := ranked{e, u == reading && height > 0 && height < e.tail, e.score(u, now)}
		if e == p.active[u] {
			r.score = -1
		}
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b ranked) int {
		if a.gone != b.gone {
			if b.gone {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.score, b.score)
	})
	out := make([]*endpoint, len(list))
	for i, r := range list {
		out[i] = r.endpoint
	}
	return out
}

// ask makes a read at one endpoint after the other until one answers. height is
// 0 when it is of none.
func ask[T any](ctx context.Context, p *Pool, height uint64, call func(context.Context, *endpoint) (T, error)) (T, error) {
	var worst error
	for _, e := range p.order(reading, height) {
		begin := time.Now()
		out, err := attend(ctx, p, e, call)
		if ctx.Err() != nil {
			return out, err
		}
		p.note(e, reading, height, err, time.Since(begin))
		if err == nil {
			return out, nil
		}
		if worst = pick(worst, err); errors.Is(err, ErrFuture) && !p.told(height) {
			break // nobody has more
		}
	}
	var zero T
	if worst == nil {
		worst = p.noneLeft()
	}
	return zero, worst
}

// attend makes a read at an endpoint, once that is known to be of the DA layer. It
// gives up when the endpoint loses the lead because others answer.
func attend[T any](ctx context.Context, p *Pool, e *endpoint, call func(context.Context, *endpoint) (T, error)) (T, error) {
	if len(p.all) > 1 {
		p.mu.Lock()
		lead := e.reads
		p.mu.Unlock()
		callCtx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(lead, cancel)() //nolint:contextcheck // ends with the lead, not with the caller
		defer time.AfterFunc(slowRead, func() { p.slow(e, reading) }).Stop()
		out, err := admitted(callCtx, p, e, call)
		if err != nil && callCtx.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w, and another endpoint answers", ErrUnavailable, errTimeout)
		}
		return out, err
	}
	return admitted(ctx, p, e, call)
}

func admitted[T any](ctx context.Context, p *Pool, e *endpoint, call func(context.Context, *endpoint) (T, error)) (T, error) {
	if err := p.admit(ctx, e); err != nil {
		var zero T
		return zero, err
	}
	return call(ctx, e)
}

// noneLeft is the error of a call that no endpoint may be asked.
func (p *Pool) noneLeft() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.foreignError(p.all[0])
}

// pick returns the error to tell of two: that a height is still to come where any
// endpoint says so, that it is gone only where all do.
func pick(a, b error) error {
	switch {
	case a == nil, errors.Is(b, ErrFuture), errors.Is(a, ErrPruned):
		return b
	}
	return a
}

// told reports whether any endpoint has told of a height.
func (p *Pool) told(height uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return height <= p.head
}

// Head returns the newest height any endpoint has told of, as long as it stands
// by it: the head does not go back because another endpoint is asked.
func (p *Pool) Head(ctx context.Context) (Head, error) {
	var out Head
	_, err := ask(ctx, p, 0, func(ctx context.Context, e *endpoint) (Head, error) {
		begin := time.Now()
		h, err := e.client.Head(ctx)
		if err == nil {
			err = p.proveAnew(ctx, e, h)
		}
		if err == nil {
			out, err = p.tell(e, h, time.Since(begin))
		}
		if err == nil {
			p.advance(ctx, e)
		}
		return h, err
	})
	if err != nil && ctx.Err() == nil {
		p.unanswered(err)
	}
	return out, err
}

// HeaderAt returns height and time of one DA block.
func (p *Pool) HeaderAt(ctx context.Context, height uint64) (Head, error) {
	return ask(ctx, p, height, func(ctx context.Context, e *endpoint) (Head, error) { return e.client.HeaderAt(ctx, height) })
}

// Blobs returns the blobs of one height.
func (p *Pool) Blobs(ctx context.Context, height uint64, namespaces ...Namespace) ([]Blob, error) {
	return ask(ctx, p, height, func(ctx context.Context, e *endpoint) ([]Blob, error) {
		return e.client.Blobs(ctx, height, namespaces...)
	})
}

// BlobsAt returns the blobs of several heights. A height one endpoint cannot
// serve is asked for at the others.
func (p *Pool) BlobsAt(ctx context.Context, heights []uint64, namespaces ...Namespace) ([]Reply, error) {
	if len(heights) == 0 {
		return nil, nil
	}
	var asked *endpoint
	replies, err := ask(ctx, p, heights[0], func(ctx context.Context, e *endpoint) ([]Reply, error) {
		asked = e
		b, ok := e.client.(BatchReader)
		if !ok {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, errBatch)
		}
		return b.BlobsAt(ctx, heights, namespaces...)
	})
	if err != nil {
		return nil, err
	}
	if len(p.all) > 1 {
		p.complete(ctx, asked, heights, replies, namespaces)
	}
	return replies, nil
}

// complete asks the others for the heights an endpoint could not serve.
func (p *Pool) complete(ctx context.Context, asked *endpoint, heights []uint64, replies []Reply, namespaces []Namespace) {
	for i := range replies {
		if replies[i].Err == nil || ctx.Err() != nil {
			continue
		}
		p.note(asked, reading, heights[i], replies[i].Err, 0)
		if errors.Is(replies[i].Err, ErrFuture) && !p.told(heights[i]) {
			break // and so are those behind
		}
		if replies[i].Blobs, replies[i].Err = p.Blobs(ctx, heights[i], namespaces...); replies[i].Err != nil {
			break // the caller asks again for what is left
		}
	}
}

// Submit posts at the best endpoint, and at the next only after an answer that
// leaves no doubt that nothing was posted.
func (p *Pool) Submit(ctx context.Context, ns Namespace, blobs [][]byte) (uint64, error) {
	var first error
	for _, e := range p.order(posting, 0) {
		begin := time.Now()
		height, err := admitted(ctx, p, e, func(ctx context.Context, e *endpoint) (uint64, error) { return e.client.Submit(ctx, ns, blobs) })
		if ctx.Err() == nil {
			p.note(e, posting, height, err, time.Since(begin))
		}
		if err == nil || ctx.Err() != nil || !nothingPosted(err) {
			return height, err
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = p.noneLeft()
	}
	return 0, first
}

// nothingPosted reports whether a refusal is about the endpoint and not about the
// submission, which it did not pass on. Busy is not: a transaction that is
// already in the mempool is refused like that.
func nothingPosted(err error) bool {
	return NothingPosted(err) || errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnknown)
}

// Watch sends the heights of the endpoint that is read from, and ends when
// another one takes its place: the caller watches again.
func (p *Pool) Watch(ctx context.Context) (<-chan uint64, error) {
	p.mu.Lock()
	e, moved := p.active[reading], p.switched
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	in, err := admitted(ctx, p, e, func(ctx context.Context, e *endpoint) (<-chan uint64, error) { return e.client.Watch(ctx) })
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan uint64, 1)
	go func() {
		defer cancel()
		defer close(out)
		for {
			select {
			case <-moved:
				return
			case <-ctx.Done():
				return
			case height, ok := <-in:
				if !ok {
					return
				}
				if p.heard(e, height) {
					offer(out, height)
				}
			}
		}
	}()
	return out, nil
}
