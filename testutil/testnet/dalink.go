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
	client da.Client // set at each start

	mu    sync.Mutex
	dead  bool // the process is gone: nothing restores its link
	noise Noise
	rand  *rand.Rand
	life  context.Context //nolint:containedctx // ends calls that are under way when the link is cut
	sever context.CancelFunc
}

func newDALink() *daLink {
	l := new(daLink)
	l.restore()
	return l
}

// again is the same link for the next run.
func (l *daLink) again() *daLink {
	next := newDALink()
	next.noise, next.rand = l.noise, l.rand
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

// Head implements da.Client.
func (l *daLink) Head(ctx context.Context) (da.Head, error) { return over(ctx, l, l.client.Head) }

// HeaderAt implements da.Client.
func (l *daLink) HeaderAt(ctx context.Context, height uint64) (da.Head, error) {
	return over(ctx, l, func(ctx context.Context) (da.Head, error) { return l.client.HeaderAt(ctx, height) })
}

// Blobs implements da.Client.
func (l *daLink) Blobs(ctx context.Context, height uint64, namespaces ...da.Namespace) ([]da.Blob, error) {
	return over(ctx, l, func(ctx context.Context) ([]da.Blob, error) {
		blobs, err := l.client.Blobs(ctx, height, namespaces...)
		if copies, _ := l.fate(); copies > 1 {
			blobs = append(blobs, blobs...)
		}
		return blobs, err //nolint:wrapcheck // a pass-through
	})
}

// Submit implements da.Client.
func (l *daLink) Submit(ctx context.Context, ns da.Namespace, blobs [][]byte) (uint64, error) {
	return over(ctx, l, func(ctx context.Context) (uint64, error) { return l.client.Submit(ctx, ns, blobs) })
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
	c, err := l.client.Watch(ctx)
	if err != nil {
		cancel()
	}
	return c, err //nolint:wrapcheck // a pass-through
}
