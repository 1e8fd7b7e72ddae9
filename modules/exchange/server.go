package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
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

// answer serves one stream: a request in, frames out.
func (e *Exchange[H]) answer(ctx context.Context, s network.Stream) {
	ctx, cancel := context.WithTimeout(ctx, 4*e.cfg.ServeTimeout)
	defer cancel()
	// Whatever the stream waits for ends with ctx.
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	p := s.Conn().RemotePeer()
	if !e.serve.acquire(ctx, p, func() bool { return e.meter.await(ctx, p) }) {
		e.counts.refuse.Add(1)
		_ = s.Reset()
		return
	}
	defer e.serve.release(p)
	bufs := e.bufs.Get().(*buffers) //nolint:forcetypeassert // the pool holds nothing else
	defer func() { bufs.release(); e.bufs.Put(bufs) }()
	if err := e.exchange(ctx, s, bufs); err != nil {
		e.counts.refuse.Add(1)
		_ = s.Reset()
		return
	}
	e.counts.served.Add(1)
	_ = s.Close()
}

func (e *Exchange[H]) exchange(ctx context.Context, s network.Stream, bufs *buffers) error {
	if err := s.SetReadDeadline(time.Now().Add(e.cfg.ServeTimeout)); err != nil {
		return fmt.Errorf("deadline: %w", err)
	}
	var err error
	if bufs.body, err = readFrame(bufs.reader(s), bufs.body, maxRequestBytes, nil); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	req, err := decodeRequest(bufs.body)
	if err != nil {
		return err
	}
	items, err := e.find(ctx, req)
	if err != nil && !errors.Is(err, header.ErrNotFound) {
		return err
	}
	p := s.Conn().RemotePeer()
	items = e.afford(p, items)
	defer e.settleUp(p, items)
	return e.write(s, bufs, items)
}

// afford cuts an answer to what there is room for, one item at least, and takes the
// room. settleUp gives it back and charges the peer.
func (e *Exchange[H]) afford(p peer.ID, items []H) []H {
	size := 0
	for i, item := range items {
		n := item.Size()
		if i > 0 && (size+n > e.cfg.ResponseBytes || !e.giving.take(p, n)) {
			return items[:i:i]
		}
		if i == 0 {
			e.giving.force(p, n)
		}
		size += n
	}
	return items
}

func (e *Exchange[H]) settleUp(p peer.ID, items []H) {
	size := 0
	for _, item := range items {
		size += item.Size()
	}
	e.giving.give(p, size)
	e.meter.pay(p, size)
}

// find returns the items a request asks for: never more than exist, and never
// waiting for one that does not exist yet.
func (e *Exchange[H]) find(ctx context.Context, r request) ([]H, error) {
	switch {
	case r.hasHash:
		return e.byHash(ctx, r.hash)
	case !r.hasOrigin, r.amount == 0:
		return nil, errRefused
	case r.origin == 0: // the amount does not matter
		return one(e.store.Head(ctx))
	case r.amount > maxItems:
		return nil, errRefused
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
func (e *Exchange[H]) write(s network.Stream, bufs *buffers, items []H) error {
	w := bufs.writer(s)
	scratch := make([]byte, 0, 32)
	size := 0
	for i, item := range items {
		if i == 0 || w.Available() < item.Size() {
			if err := s.SetWriteDeadline(time.Now().Add(e.cfg.ServeTimeout)); err != nil {
				return fmt.Errorf("deadline: %w", err)
			}
		}
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
		_ = s.SetWriteDeadline(time.Now().Add(e.cfg.ServeTimeout))
		_, _ = w.Write(head)
		_, _ = w.Write(tail[:])
	}
	e.counts.servedSize.Add(uint64(size))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
