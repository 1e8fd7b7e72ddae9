package testnet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tandem-node/tandem/modules/da"
)

// daLink is one node's way to DA. It can be cut: calls under way break off, new
// ones are refused.
type daLink struct {
	client da.Client // set at each start

	mu    sync.Mutex
	life  context.Context //nolint:containedctx // ends calls that are under way when the link is cut
	sever context.CancelFunc
}

func newDALink() *daLink {
	l := new(daLink)
	l.restore()
	return l
}

// errCut is what a node sees whose way to DA is cut.
var errCut = fmt.Errorf("%w: the way to DA is cut", da.ErrUnavailable)

func (l *daLink) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sever()
}

func (l *daLink) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.life == nil || l.life.Err() != nil {
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
	out, err := call(callCtx)
	if err != nil && life.Err() != nil && ctx.Err() == nil && !errors.Is(err, da.ErrUnknown) {
		err = errCut
	}
	return out, err
}

// Head implements da.Client.
func (l *daLink) Head(ctx context.Context) (da.Head, error) { return over(ctx, l, l.client.Head) }

// HeaderAt implements da.Client.
func (l *daLink) HeaderAt(ctx context.Context, height uint64) (da.Head, error) {
	return over(ctx, l, func(ctx context.Context) (da.Head, error) { return l.client.HeaderAt(ctx, height) })
}

// Blobs implements da.Client.
func (l *daLink) Blobs(ctx context.Context, height uint64, namespaces ...da.Namespace) ([]da.Blob, error) {
	return over(ctx, l, func(ctx context.Context) ([]da.Blob, error) { return l.client.Blobs(ctx, height, namespaces...) })
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
