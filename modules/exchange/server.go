package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"
)

// errRefused ends a stream by reset.
var errRefused = errors.New("request refused")

// handler answers range requests until ctx ends.
func (e *Exchange[H]) handler(ctx context.Context) network.StreamHandler {
	return func(s network.Stream) {
		if !e.gate.enter() {
			_ = s.Reset()
			return
		}
		defer e.gate.leave()
		e.answer(ctx, s)
	}
}

// requestPatience is how long a peer may take to send its request, which is a few
// dozen bytes, ServeTimeout at most.
const requestPatience = 5 * time.Second

// serveReads is how many answers are read from the store at once.
const serveReads = 4

// answer serves one stream: a request in, frames out.
func (e *Exchange[H]) answer(ctx context.Context, s network.Stream) {
	// Whatever the stream waits for ends with ctx.
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	r, ok := e.serving.open(s.Conn(), s.Conn().RemotePeer(), func() { _ = s.Reset() })
	if !ok {
		e.counts.refuse.Add(1)
		_ = s.Reset()
		return
	}
	defer e.serving.shut(r)
	if err := e.exchange(ctx, s, r); err != nil {
		e.counts.refuse.Add(1)
		e.log.Debug("request refused", zap.Stringer("peer", s.Conn().RemotePeer()), zap.Error(err))
		_ = s.Reset()
		return
	}
	e.counts.served.Add(1)
	_ = s.Close()
}

// exchange reads the request, then waits for a slot, then answers: until there is a
// whole request its stream takes nothing that others need.
func (e *Exchange[H]) exchange(ctx context.Context, s network.Stream, r *reply) error {
	req, err := e.request(s)
	if err != nil {
		return err
	}
	if err := e.admit(ctx, s.Conn().RemotePeer(), r); err != nil {
		return err
	}
	items, err := e.gather(ctx, req, r)
	if err != nil && !errors.Is(err, header.ErrNotFound) {
		return err
	}
	defer func() { e.meter.pay(s.Conn().RemotePeer(), int(r.sent.Load())) }()
	err = e.write(s, r, items)
	if timedOut(err) {
		e.serving.stalled(r)
	}
	return err
}

// request reads the request of a stream.
func (e *Exchange[H]) request(s network.Stream) (request, error) {
	if err := s.SetReadDeadline(time.Now().Add(min(requestPatience, e.cfg.ServeTimeout))); err != nil {
		return request{}, fmt.Errorf("deadline: %w", err)
	}
	const enough = 64 // nearly all requests are shorter
	body, err := readFrame(bufio.NewReaderSize(s, enough), nil, maxRequestBytes, nil)
	if err != nil {
		return request{}, fmt.Errorf("read: %w", err)
	}
	req, err := decodeRequest(body)
	if err != nil {
		return req, err
	}
	return req, req.check()
}

// check refuses what no answer can be found for.
func (r request) check() error {
	if !r.hasHash && (!r.hasOrigin || r.amount == 0 || r.origin != 0 && r.amount > maxItems) {
		return errRefused
	}
	return nil
}

// admit waits until the peer's turn has come. It gives up before the peer does, which
// would have to take this node for a dead one.
func (e *Exchange[H]) admit(ctx context.Context, p peer.ID, r *reply) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ServeTimeout/2)
	defer cancel()
	if !e.meter.await(ctx, p) {
		return errBusy
	}
	return e.serving.acquire(ctx, r)
}

// gather reads what is asked for and keeps what there is room for, one item at
// least. Few do so at once, as what is read does not count before it is kept.
func (e *Exchange[H]) gather(ctx context.Context, req request, r *reply) ([]H, error) {
	select {
	case e.reads <- struct{}{}:
		defer func() { <-e.reads }()
	case <-ctx.Done():
		return nil, fmt.Errorf("read: %w", ctx.Err())
	}
	items, err := e.find(ctx, req)
	if err != nil {
		return nil, err
	}
	return e.afford(r, items)
}

// afford cuts an answer to what there is room for and takes the room. What is cut
// off is let go of.
func (e *Exchange[H]) afford(r *reply, items []H) ([]H, error) {
	size := 0
	for i, item := range items {
		n := item.Size()
		if i > 0 && size+n > e.cfg.ResponseBytes || !e.serving.take(r, item.Held()) {
			if i == 0 {
				return nil, errBusy // it had to give way
			}
			return slices.Clone(items[:i]), nil
		}
		size += n
	}
	return items, nil
}

// find returns the items a request asks for: never more than exist, and never
// waiting for one that does not exist yet.
func (e *Exchange[H]) find(ctx context.Context, r request) ([]H, error) {
	switch {
	case r.hasHash:
		return e.byHash(ctx, r.hash)
	case r.origin == 0: // the amount does not matter
		return one(e.store.Head(ctx))
	}
	head := e.store.Height()
	if r.origin > head {
		return nil, header.ErrNotFound
	}
	tail, err := e.store.Tail(ctx)
	if err != nil || r.origin < tail.Height() {
		return nil, header.ErrNotFound
	}
	return e.store.GetRange(ctx, r.origin, min(r.origin+r.amount, head+1)) //nolint:wrapcheck // never shown
}

// byHash returns the item of a hash: its own, or the one ev-node has it under,
// which is SHA-256 of the signed header for data too (evolve-wire §5.5).
func (e *Exchange[H]) byHash(ctx context.Context, hash []byte) ([]H, error) {
	item, err := e.store.Get(ctx, hash)
	if !errors.Is(err, header.ErrNotFound) {
		return one(item, err)
	}
	height, ok := e.rules.indexed(ctx, hash)
	if !ok || height > e.store.Height() {
		return nil, header.ErrNotFound
	}
	return e.store.GetRange(ctx, height, height+1) //nolint:wrapcheck // never shown
}

func one[H any](h H, err error) ([]H, error) {
	if err != nil {
		return nil, err
	}
	return []H{h}, nil
}

// write sends the items, or that there are none.
func (e *Exchange[H]) write(s network.Stream, r *reply, items []H) error {
	bufs := e.bufs.Get().(*buffers) //nolint:forcetypeassert // the pool holds nothing else
	defer func() { bufs.release(); e.bufs.Put(bufs) }()
	out := &steady{stream: s, patience: e.cfg.ServeTimeout, sent: &r.sent}
	if err := out.start(); err != nil {
		return fmt.Errorf("deadline: %w", err)
	}
	w := bufs.writer(out)
	scratch := make([]byte, 0, 32)
	size := 0
	for _, item := range items {
		body := e.rules.hinted(item, e.hint(item.Height())).EncodeP2P()
		head, tail := appendResponse(scratch, len(body))
		_, _ = w.Write(head)
		_, _ = w.Write(body)
		if _, err := w.Write(tail[:]); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		size += len(body)
		e.counts.servedItems.Add(1)
	}
	if len(items) == 0 {
		head, tail := appendResponse(scratch, 0)
		_, _ = w.Write(head)
		_, _ = w.Write(tail[:])
	}
	e.counts.servedSize.Add(uint64(size))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// timedOut reports whether a deadline ended what err is of.
func timedOut(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}
