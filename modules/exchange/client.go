package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/names"
)

// errLie marks answers no honest peer gives.
var errLie = errors.New("peer lied")

// answer is what a peer said to one request.
type answer[H any] struct {
	items []H    // checked, in order, from the first height asked for
	bytes int64  // their encoded size
	held  int64  // what they take in memory
	taken int64  // bytes that count as being read
	err   error  // why there is not more; nil when the answer is complete
	bad   H      // the item that err is about, when it cannot be judged yet
	claim uint64 // height of a head that cannot be judged yet; 0 otherwise
	span  trace.SpanContext
}

// fetch asks one peer for a span and checks what comes. It keeps the good
// prefix, whatever happens behind it.
func (e *Exchange[H]) fetch(ctx context.Context, p peer.ID, s span) answer[H] {
	ctx, work := e.asking(ctx, p, s)
	defer work.End()
	a := e.ask(ctx, p, request{origin: s.from, amount: s.to - s.from}, s)
	for i, item := range a.items {
		if want := s.from + uint64(i); item.Height() != want {
			a.items = a.items[:i]
			a.err = fmt.Errorf("%w: item %d, want %d", errLie, item.Height(), want)
			break
		}
	}
	e.check(&a, s.heads)
	if len(a.items) == 0 && a.err == nil {
		a.err = fmt.Errorf("%w: empty answer", errMalformed)
	}
	if a.span = work.Context(); work.Recording() {
		work.SetAttributes(attribute.Int(names.AttrBlockCount, len(a.items)), attribute.Int64(names.AttrBytes, a.bytes))
	}
	_ = work.Fail(a.err)
	return a
}

// done gives back the bytes of an answer that was handed on or dropped.
func (e *Exchange[H]) done(a answer[H]) { e.status.reading.Add(-a.taken) }

// brief bounds a request for one item that nothing waits for.
func (e *Exchange[H]) brief(ctx context.Context) (context.Context, context.CancelFunc) {
	const slack = 4
	return context.WithTimeout(ctx, slack*e.cfg.RequestTimeout)
}

// head asks one peer for its newest item.
func (e *Exchange[H]) head(ctx context.Context, p peer.ID) answer[H] {
	ctx, cancel := e.brief(ctx)
	defer cancel()
	a := e.ask(ctx, p, request{amount: 1}, span{})
	asked := a.items
	if e.check(&a, nil); errors.Is(a.err, errUnproven) {
		a.claim = asked[0].Height()
	}
	if len(a.items) == 0 && a.err == nil {
		a.err = fmt.Errorf("%w: empty answer", errMalformed)
	}
	return a
}

// check drops the items that are not good.
func (e *Exchange[H]) check(a *answer[H], heads []*block.SignedHeader) {
	n, err := e.rules.check(a.items, heads)
	if err == nil {
		return
	}
	if errors.Is(err, errUnproven) {
		a.bad = a.items[n]
	}
	a.items = a.items[:n]
	a.err = err
	if !innocent(err) {
		a.err = fmt.Errorf("%w: %w", errLie, err)
	}
}

// ask sends one request and reads the answer, as far as there is room. For a span
// that comes next there always is.
func (e *Exchange[H]) ask(ctx context.Context, p peer.ID, r request, of span) answer[H] {
	e.counts.requests.Add(1)
	opening, opened := context.WithTimeout(network.WithNoDial(ctx, "range request"), e.cfg.RequestTimeout)
	s, err := e.host.NewStream(opening, p, e.proto)
	opened()
	if err != nil {
		return answer[H]{err: fmt.Errorf("open stream: %w", err)}
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	bufs := e.bufs.Get().(*buffers) //nolint:forcetypeassert // the pool holds nothing else
	defer func() { bufs.release(); e.bufs.Put(bufs) }()
	link := &steady{stream: s, patience: e.cfg.RequestTimeout}
	if err := link.start(); err != nil {
		_ = s.Reset()
		return answer[H]{err: fmt.Errorf("deadline: %w", err)}
	}
	if _, err := s.Write(r.appendFrame(make([]byte, 0, 64))); err != nil {
		_ = s.Reset()
		return answer[H]{err: fmt.Errorf("write: %w", err)}
	}
	if err := s.CloseWrite(); err != nil {
		_ = s.Reset()
		return answer[H]{err: fmt.Errorf("close write: %w", err)}
	}
	amount := int(r.amount) //nolint:gosec // at most 64
	link.got = of.got
	a := e.read(link, bufs, amount, of.first)
	if a.err != nil || len(a.items) == amount {
		_ = s.Reset() // whatever else comes is not wanted
	} else {
		_ = s.Close()
	}
	return a
}

// read takes up to amount items off a stream. What arrives counts as being read
// until the caller gives it back.
func (e *Exchange[H]) read(s io.Reader, bufs *buffers, amount int, first bool) answer[H] {
	var a answer[H]
	r := bufs.reader(s)
	room := func(n int) error {
		a.taken += int64(n)
		if held := e.status.reading.Add(int64(n)) + e.status.queued.Load(); held > int64(e.cfg.QueueBytes) && !first {
			return fmt.Errorf("%d bytes of answers: %w", held, errFull)
		}
		return nil
	}
	for len(a.items) < amount {
		item, size, err := e.readItem(r, bufs, room)
		if err != nil {
			if !errors.Is(err, io.EOF) || len(a.items) == 0 {
				a.err = err
			}
			return a
		}
		if a.items == nil {
			a.items = make([]H, 0, amount)
		}
		a.items = append(a.items, item)
		a.bytes += int64(size)
		a.held += int64(item.Held())
		if a.bytes >= int64(e.cfg.ResponseBytes) || e.status.reading.Load()+e.status.queued.Load() >= int64(e.cfg.QueueBytes) {
			return a // the rest is asked for again
		}
	}
	return a
}

// readItem takes one item off a stream and returns the length of its body. The
// end of the stream is io.EOF; what no honest peer sends is errLie.
func (e *Exchange[H]) readItem(r *bufio.Reader, bufs *buffers, room func(int) error) (item H, size int, err error) {
	if bufs.body, err = readFrame(r, bufs.body, block.MaxFrameBytes, room); err != nil {
		if errors.Is(err, block.ErrTooLarge) {
			err = fmt.Errorf("%w: %w", errLie, err)
		}
		return item, 0, err
	}
	body, err := decodeResponse(bufs.body)
	switch {
	case errors.Is(err, errNotFound):
		return item, 0, err
	case err == nil:
		if err := room(e.rules.weight(body) - len(body)); err != nil { // few bytes may become many
			return item, 0, err
		}
		item, err = e.rules.decode(body)
	}
	if err != nil {
		return item, 0, fmt.Errorf("%w: %w", errLie, err)
	}
	return item, len(body), nil
}
