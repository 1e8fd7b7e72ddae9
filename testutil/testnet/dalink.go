package testnet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-node/tandem/modules/da"
)

// daLink is one node's way to DA. It can be cut: calls under way break off, new
// ones are refused.
type daLink struct {
	client da.Client        // set at each start
	wiped  func() da.Client // the layer that answers in place of it

	mu    sync.Mutex
	dead  bool // the process is gone: nothing restores its link
	noise Noise
	lie   Lie
	rand  *rand.Rand
	life  context.Context //nolint:containedctx // ends calls that are under way when the link is cut
	sever context.CancelFunc
}

func newDALink(wiped func() da.Client) *daLink {
	l := &daLink{wiped: wiped}
	l.restore()
	return l
}

// again is the same link for the next run.
func (l *daLink) again() *daLink {
	next := newDALink(l.wiped)
	next.noise, next.rand, next.lie = l.noise, l.rand, l.lie
	return next
}

// errCut is what a node sees whose way to DA is cut.
var errCut = fmt.Errorf("%w: the way to DA is cut", da.ErrUnavailable)

func (l *daLink) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sever()
}

// kill cuts the link for good.
func (l *daLink) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	l.sever()
}

func (l *daLink) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.dead && (l.life == nil || l.life.Err() != nil) {
		l.life, l.sever = context.WithCancel(context.Background())
	}
}

// over makes a call whose context also ends with the link.
func over[T any](ctx context.Context, l *daLink, call func(context.Context) (T, error)) (T, error) {
	l.mu.Lock()
	life := l.life
	l.mu.Unlock()
	if life.Err() != nil {
		var none T
		return none, errCut
	}
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)() //nolint:contextcheck // the second context ends the call as well
	copies, delay := l.fate()
	if err := pause(callCtx, delay); err != nil || copies == 0 {
		var none T
		return none, errLost
	}
	out, err := call(callCtx)
	if err != nil && life.Err() != nil && ctx.Err() == nil && !errors.Is(err, da.ErrUnknown) {
		err = errCut
	}
	return out, err
}

// errLost is what a node sees of a call that noise has swallowed.
var errLost = fmt.Errorf("%w: the call is lost", da.ErrUnavailable)

// fate draws what becomes of a call. None that changes something is made twice.
func (l *daLink) fate() (copies int, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noise.draw(l.rand)
}

func (l *daLink) setNoise(n Noise, seed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noise, l.rand = n, rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // repeatable, not secret
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // the context's own
	}
}

// Lie is what a DA node says that is not so. The zero value is honest.
type Lie struct {
	Hide bool   // answers hold no blobs
	Head uint64 // is said to be the head; heights up to it are said to be empty
	Lose bool   // submissions are said to have landed, and are dropped
	// Wiped makes another DA layer answer, one that has begun since.
	Wiped bool
}

func (l *daLink) setLie(lie Lie) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = lie
}

func (l *daLink) lies() Lie {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lie
}

// node returns the client of the DA node that answers now.
func (l *daLink) node() da.Client {
	if l.lies().Wiped {
		return l.wiped()
	}
	return l.client
}

// Head implements da.Client.
func (l *daLink) Head(ctx context.Context) (da.Head, error) {
	head, err := over(ctx, l, l.node().Head)
	if lie := l.lies(); lie.Head != 0 {
		head.Height = lie.Head
	}
	return head, err
}

// HeaderAt implements da.Client.
func (l *daLink) HeaderAt(ctx context.Context, height uint64) (da.Head, error) {
	return over(ctx, l, func(ctx context.Context) (da.Head, error) { return l.node().HeaderAt(ctx, height) })
}

// Blobs implements da.Client.
func (l *daLink) Blobs(ctx context.Context, height uint64, namespaces ...da.Namespace) ([]da.Blob, error) {
	return over(ctx, l, func(ctx context.Context) ([]da.Blob, error) {
		blobs, err := l.node().Blobs(ctx, height, namespaces...)
		switch lie := l.lies(); {
		case lie.Hide:
			blobs = nil
		case height <= lie.Head && errors.Is(err, da.ErrFuture):
			return nil, pause(ctx, 10*time.Millisecond) // who reads on and on lets time pass
		}
		if copies, _ := l.fate(); copies > 1 {
			blobs = append(blobs, blobs...)
		}
		return blobs, err //nolint:wrapcheck // a pass-through
	})
}

// BlobsAt implements da.BatchReader.
func (l *daLink) BlobsAt(ctx context.Context, heights []uint64, namespaces ...da.Namespace) ([]da.Reply, error) {
	out := make([]da.Reply, len(heights))
	for i, height := range heights {
		out[i].Blobs, out[i].Err = l.Blobs(ctx, height, namespaces...)
	}
	return out, nil
}

// Submit implements da.Client.
func (l *daLink) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (uint64, error) {
	return over(ctx, l, func(ctx context.Context) (uint64, error) {
		if l.lies().Lose {
			head, err := l.client.Head(ctx)
			return head.Height + 1, err //nolint:wrapcheck // a pass-through
		}
		return l.node().Submit(ctx, ns, blobs)
	})
}

// Watch implements da.Client. A stream ends with the link it was opened on.
func (l *daLink) Watch(ctx context.Context) (<-chan uint64, error) {
	l.mu.Lock()
	life := l.life
	l.mu.Unlock()
	if life.Err() != nil {
		return nil, errCut
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(life, cancel) //nolint:contextcheck // the second context ends the stream as well
	c, err := l.node().Watch(ctx)
	if err != nil {
		cancel()
	}
	return c, err //nolint:wrapcheck // a pass-through
}
