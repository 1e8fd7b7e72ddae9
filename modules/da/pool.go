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
)

// Pool is a client of several endpoints of one DA chain. Calls go to the
// healthiest; a read that fails there is made at the next, so that callers see
// a failure only when all fail. A submission is made elsewhere only when it is
// certain that nothing was posted: everything else is for the caller to find out,
// by commitment.
//
// Endpoints are ranked by failures, lies, lag and latency, and change places only
// with a clear lead; see endpoint. It keeps no order of preference and makes no
// calls of its own as long as the one it uses does well; see Run.
type Pool struct {
	log    *zap.Logger
	closes []func()
	wake   chan struct{} // Run is to look at all endpoints
	calls  calls
	// answers is shared by the endpoints; nil without any.
	answers *allowance

	mu       sync.Mutex
	all      []*endpoint
	active   [uses]*endpoint
	switched chan struct{} // closed and replaced when reading moves
	chain    string        // DA chain of the first endpoint that told
	head     uint64        // best told
	moved    time.Time     // when head last rose
	interval time.Duration // from height to height, as seen here
	probed   time.Time
	gap      time.Duration // least time to the next probe
}

var (
	_ Client      = (*Pool)(nil)
	_ BatchReader = (*Pool)(nil)
)

// NewPool makes a client of all the endpoints in cfg, at least one. It connects
// with the first call.
func NewPool(cfg Config, log *zap.Logger) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := newPool(log)
	p.answers = newAllowance(cfg.AnswerBytes)
	for _, address := range cfg.Addresses {
		c, err := NewCelestia(address, cfg)
		if err != nil {
			return nil, err
		}
		c.answers = p.answers
		u, err := url.Parse(address)
		if err != nil {
			return nil, errors.New("da.address is not a URL")
		}
		p.add(endpointName(u), counted{c, &p.calls})
		p.closes = append(p.closes, c.Close)
	}
	if len(p.all) == 0 {
		return nil, errors.New("da.address is empty, want a URL")
	}
	return p, nil
}

func newPool(log *zap.Logger) *Pool {
	return &Pool{log: log, wake: make(chan struct{}, 1), switched: make(chan struct{}), interval: usualInterval}
}

func (p *Pool) add(name string, c Client) {
	e := &endpoint{name: name, client: c}
	p.all = append(p.all, e)
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
		if e.foreign {
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
		out, err := call(ctx, e)
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
		worst = fmt.Errorf("%w: all endpoints are of another DA chain", ErrUnavailable)
	}
	return zero, worst
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
			out, err = p.tell(e, h, time.Since(begin))
		}
		return h, err
	})
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
		height, err := e.client.Submit(ctx, ns, blobs)
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
	return 0, first
}

// nothingPosted reports whether a refusal is about the endpoint and not about the
// submission, which it did not pass on. Busy is not: a transaction that is
// already in the mempool is refused like that.
func nothingPosted(err error) bool {
	return !errors.Is(err, ErrUnknown) && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrAuth) ||
		errors.Is(err, ErrFee) || errors.Is(err, ErrRejected))
}

// Watch sends the heights of the endpoint that is read from, and ends when
// another one takes its place: the caller watches again.
func (p *Pool) Watch(ctx context.Context) (<-chan uint64, error) {
	p.mu.Lock()
	e, moved := p.active[reading], p.switched
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	in, err := e.client.Watch(ctx)
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
				p.heard(e, height)
				offer(out, height)
			}
		}
	}()
	return out, nil
}

// Calls returns what was asked of the endpoints so far.
func (p *Pool) Calls() []Calls { return p.calls.all() }

// AnswerBytes is what the answers that are being read take now.
func (p *Pool) AnswerBytes() int { return p.answers.used() }

// Endpoints returns what is known of each, in the order of the config.
func (p *Pool) Endpoints() []Endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	out := make([]Endpoint, len(p.all))
	for i, e := range p.all {
		out[i] = Endpoint{
			Address: e.name, Reading: e == p.active[reading], Posting: e == p.active[posting], Score: e.score(reading, now),
			Head: e.head, Lag: e.lag, Latency: e.latency, Answers: e.answers, Failures: e.failures, Lies: e.lies,
			LastOK: e.lastOK, LastErr: e.lastErr,
		}
	}
	return out
}
