package daworker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/beat"
)

// A hand-over takes at most this much, so that what was read is soon in the stores.
const (
	groupHeights = 256
	groupBytes   = 4 << 20
)

// window reads a range of DA heights with several in flight and hands them over
// in order. The number in flight grows while answers are waited for and falls
// back when one fails. A height that fails is asked for again without disturbing
// the others: the lowest on a back-off timer, any other as soon as one succeeds.
type window struct {
	start, most int // in flight
	budget      int // bytes read ahead
	fetch       func(ctx context.Context, height uint64) (*found, error)
	// many reads several heights with one request, an answer each; nil where the
	// client cannot. An error is that of the request. list says how many.
	many func(ctx context.Context, heights []uint64) ([]answer, error)
	list tuner
	// hand takes over consecutive heights; its error ends the run.
	hand func(ctx context.Context, group []*found) error
	// retry is told of every failure that is retried; its error ends the run.
	retry   func(ctx context.Context, height uint64, err error) error
	backoff func(attempt int) time.Duration
	held    *atomic.Int64 // bytes read ahead, for the status
	beat    *beat.Beat    // of each step
}

// run hands over [from, to]. It returns nil when all was, or the error that ended
// it: of hand or retry, of ctx, or a final one of the first height that cannot be had now
// (da.ErrFuture, da.ErrPruned), after handing over those below it.
func (w *window) run(ctx context.Context, from, to uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	r := &windowRun{
		window: w, next: from, ask: from, to: to, target: w.start,
		jobs: make(chan job, 2*w.most*maxList), answers: make(chan reply, 2*w.most*maxList),
		ready: make(map[uint64]*found), failed: make(map[uint64]failure),
	}
	w.list.begin()
	defer func() {
		cancel()
		close(r.jobs)
		r.workers.Wait()
		w.held.Store(0)
	}()
	for r.next <= r.to {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	return r.stop
}

// job is a request to make: consecutive heights.
type job struct {
	from uint64
	n    int
}

// reply is what came of a job: one answer per height.
type reply struct {
	answers []answer
	took    time.Duration
	failed  bool // the request, not a height
}

type answer struct {
	height uint64
	found  *found
	err    error
}

type failure struct {
	attempts int
	parked   bool // not being asked for
}

// windowRun is one run; its fields belong to the goroutine of run.
type windowRun struct {
	*window
	next, ask, to uint64 // to hand over, to ask for, last
	stop          error
	target        int // wanted in flight
	jobs          chan job
	answers       chan reply
	workers       sync.WaitGroup
	running       int // workers
	requests      int // without a reply
	asked         int // heights in them
	ready         map[uint64]*found
	bytes         int // in ready
	estimate      int // of the next answer
	failed        map[uint64]failure
	timer         *time.Timer // retries the lowest height
}

func (r *windowRun) step(ctx context.Context) error {
	r.beat.Busy()
	r.dispatch(ctx)
	if group := r.takeGroup(); len(group) > 0 {
		r.clearTimer()
		return r.hand(ctx, group)
	}
	var timer <-chan time.Time
	if f := r.failed[r.next]; f.parked {
		if r.timer == nil {
			r.timer = time.NewTimer(r.backoff(f.attempts))
		}
		r.beat.Idle()
		timer = r.timer.C
	}
	since := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case p := <-r.answers:
		r.adapt(time.Since(since))
		return r.receive(ctx, p)
	case <-timer:
		r.timer = nil
		r.again(ctx, r.next)
		return nil
	}
}

// dispatch asks for more heights as far as the limits allow. The lowest height is
// always asked for.
func (r *windowRun) dispatch(ctx context.Context) {
	for r.ask <= r.to {
		ahead := r.asked + len(r.failed)
		room := (r.budget-r.bytes)/max(r.estimate, 1) - ahead
		full := r.requests+len(r.failed) >= 2*r.target || len(r.ready) >= r.readyMost() || room < 1
		if full && r.ask > r.next {
			return
		}
		n := 1
		if r.many != nil && !full {
			n = r.list.next(min(room, maxList, listBytes/max(r.estimate, 1), int(min(r.to-r.ask+1, maxList))))
		}
		r.send(ctx, job{from: r.ask, n: n})
		r.ask += uint64(n)
	}
}

// readyMost is how many heights may wait for a lower one.
func (r *windowRun) readyMost() int { return groupHeights + 2*r.target<<r.list.double }

func (r *windowRun) send(ctx context.Context, j job) {
	r.asked += j.n
	r.requests++
	r.jobs <- j // has room for all that may be asked
	if r.running < min(r.target, r.requests) {
		r.running++
		r.workers.Go(func() { r.work(ctx) })
	}
}

func (r *windowRun) work(ctx context.Context) {
	for j := range r.jobs {
		r.answers <- r.request(ctx, j) // has room for all that may be asked
	}
}

func (r *windowRun) request(ctx context.Context, j job) reply {
	heights := make([]uint64, j.n)
	p := reply{answers: make([]answer, j.n)}
	for i := range heights {
		heights[i] = j.from + uint64(i)
		p.answers[i] = answer{height: heights[i], err: ctx.Err()}
	}
	begin := time.Now()
	switch {
	case ctx.Err() != nil:
	case j.n == 1:
		p.answers[0].found, p.answers[0].err = r.fetch(ctx, j.from)
		p.failed = p.answers[0].err != nil
	default:
		answers, err := r.many(ctx, heights)
		if p.failed = err != nil; err == nil {
			p.answers = answers
		}
		for i := range p.answers {
			if err != nil {
				p.answers[i].err = err
			}
		}
	}
	p.took = time.Since(begin)
	return p
}

// receive takes the answers of one request. Heights of a list that failed as a
// whole are asked for one by one.
func (r *windowRun) receive(ctx context.Context, p reply) error {
	r.requests--
	r.list.note(len(p.answers), p.took, p.failed)
	for i, a := range p.answers {
		if p.failed && len(p.answers) > 1 && ctx.Err() == nil && a.height <= r.to {
			r.asked--
			r.send(ctx, job{from: a.height, n: 1})
			continue
		}
		if err := r.take(ctx, p.answers[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *windowRun) take(ctx context.Context, a answer) error {
	r.asked--
	switch {
	case a.height > r.to: // beyond a height that cannot be had
		return nil
	case a.err == nil:
		r.ready[a.height] = a.found
		r.bytes += a.found.cost()
		r.estimate = max(a.found.cost(), r.estimate/8*7)
		r.held.Store(int64(r.bytes))
		delete(r.failed, a.height)
		for height, f := range r.failed {
			if f.parked && height != r.next {
				r.again(ctx, height)
			}
		}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(a.err, da.ErrFuture), errors.Is(a.err, da.ErrPruned), errors.Is(a.err, da.ErrDisabled):
		r.to, r.stop = a.height-1, a.err
		for height := range r.failed {
			if height > r.to {
				delete(r.failed, height)
			}
		}
		return nil
	}
	f := r.failed[a.height]
	r.failed[a.height] = failure{attempts: f.attempts + 1, parked: true}
	r.target = r.start
	return r.retry(ctx, a.height, a.err)
}

// again asks once more for a parked height.
func (r *windowRun) again(ctx context.Context, height uint64) {
	f := r.failed[height]
	f.parked = false
	r.failed[height] = f
	r.send(ctx, job{from: height, n: 1})
}

// takeGroup returns the consecutive heights that are ready.
func (r *windowRun) takeGroup() []*found {
	var (
		group []*found
		size  int
	)
	for len(group) < groupHeights && size < groupBytes {
		f, ok := r.ready[r.next]
		if !ok {
			break
		}
		delete(r.ready, r.next)
		r.next++
		group = append(group, f)
		size += f.cost()
	}
	r.bytes -= size
	r.held.Store(int64(r.bytes))
	return group
}

// adapt widens the window when the answers are what is waited for.
func (r *windowRun) adapt(waited time.Duration) {
	const long = 2 * time.Millisecond
	if waited >= long && len(r.failed) == 0 && r.requests >= r.target && r.ask <= r.to {
		r.target = min(r.most, 2*r.target)
	}
}

func (r *windowRun) clearTimer() {
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}

// cost returns what holding f costs, in bytes.
func (f *found) cost() int { return f.kept + 256 }
