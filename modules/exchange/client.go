package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

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
	taken int64  // bytes that count as being read
	err   error  // why there is not more; nil when the answer is complete
	claim uint64 // height of a head that cannot be judged yet; 0 otherwise
	span  trace.SpanContext
}

// fetch asks one peer for a span and checks what comes. It keeps the good
// prefix, whatever happens behind it.
func (e *Exchange[H]) fetch(ctx context.Context, p peer.ID, s span) answer[H] {
	ctx, work := e.asking(ctx, p, s)
	defer work.End()
	a := e.ask(ctx, p, request{origin: s.from, amount: s.to - s.from}, s.first)
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

// head asks one peer for its newest item.
func (e *Exchange[H]) head(ctx context.Context, p peer.ID) answer[H] {
	a := e.ask(ctx, p, request{amount: 1}, false)
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
		e.rules.stop(a.items[n], time.Now().Add(e.cfg.RetryMax))
	}
	a.items = a.items[:n]
	a.err = err
	if !innocent(err) {
		a.err = fmt.Errorf("%w: %w", errLie, err)
	}
}

// ask sends one request and reads the answer, as far as there is room; first gets
// its answer whether there is or not.
func (e *Exchange[H]) ask(ctx context.Context, p peer.ID, r request, first bool) answer[H] {
	// A slow answer is fine as long as it moves; even so it ends at some time.
	const slack = 4
	ctx, cancel := context.WithTimeout(ctx, slack*e.cfg.RequestTimeout)
	defer cancel()
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
	if err := s.SetDeadline(time.Now().Add(e.cfg.RequestTimeout)); err != nil {
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
	a := e.read(s, bufs, amount, first)
	if a.err != nil || len(a.items) == amount {
		_ = s.Reset() // whatever else comes is not wanted
	} else {
		_ = s.Close()
	}
	return a
}

// read takes up to amount items off a stream. What arrives counts as being read
// until the caller gives it back.
func (e *Exchange[H]) read(s network.Stream, bufs *buffers, amount int, first bool) answer[H] {
	var a answer[H]
	r := bufs.reader(&moving{stream: s, patience: e.cfg.RequestTimeout})
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
		item, err = e.rules.decode(body)
	}
	if err != nil {
		return item, 0, fmt.Errorf("%w: %w", errLie, err)
	}
	return item, len(body), nil
}

// moving is a stream whose reads time out only when nothing arrives.
type moving struct {
	stream   network.Stream
	patience time.Duration
	since    int
}

// Read renews the deadline every so many bytes: a trickle is not progress.
func (m *moving) Read(b []byte) (int, error) {
	const worth = 128 << 10
	n, err := m.stream.Read(b)
	if m.since += n; m.since >= worth {
		m.since = 0
		_ = m.stream.SetReadDeadline(time.Now().Add(m.patience))
	}
	return n, err //nolint:wrapcheck // io.EOF must stay visible
}
