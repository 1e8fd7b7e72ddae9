package da

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Client returns a client that calls this server without a network between. It
// has the same errors, latency, failures and outages, and needs no token; calls
// before Listen and after Close are ErrUnavailable.
func (s *Server) Client() Client { return &localClient{server: s, timeout: Default().ReadTimeout} }

// localClient is the in-process client.
type localClient struct {
	server  *Server
	timeout time.Duration
}

// begin does what the transport and every method do first. The returned error
// has its class already.
func (c *localClient) begin(ctx context.Context, method string) (n *node, lose bool, err error) {
	if err := c.server.faults.waitHang(ctx); err != nil {
		return nil, false, err
	}
	if outage, _ := c.server.faults.currentOutage(); outage != OutageNone {
		return nil, false, fmt.Errorf("%s: %w: outage", method, ErrUnavailable)
	}
	n, err = c.server.opened()
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w: %w", method, ErrUnavailable, err)
	}
	lose, err = n.faults.pass(ctx, method)
	if err != nil {
		return nil, false, c.fail(ctx, method, err)
	}
	return n, lose, nil
}

// fail gives an error of the node the class its text has over the network.
func (c *localClient) fail(ctx context.Context, method string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
	return newRPCError(method, 1, err.Error(), method == "blob.Submit")
}

// read is a read of the node with a deadline, as over the network.
func read[T any](ctx context.Context, c *localClient, method string, f func(context.Context, *node) (T, error)) (T, error) {
	callCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var out T
	n, lose, err := c.begin(callCtx, method)
	if err == nil && lose {
		err = fmt.Errorf("%s: %w: answer lost", method, ErrUnavailable)
	}
	if err == nil {
		if out, err = f(callCtx, n); err != nil {
			err = c.fail(callCtx, method, err)
		}
	}
	if err != nil && callCtx.Err() != nil && ctx.Err() == nil {
		return out, fmt.Errorf("%s: %w: %w (%s)", method, ErrUnavailable, errTimeout, c.timeout)
	}
	return out, err
}

// Head returns the newest header.
func (c *localClient) Head(ctx context.Context) (Head, error) {
	return read(ctx, c, "header.NetworkHead", func(_ context.Context, n *node) (Head, error) {
		_, head := n.bounds()
		return n.headAt(head)
	})
}

// HeaderAt returns a header; it waits for the one right above the head.
func (c *localClient) HeaderAt(ctx context.Context, height uint64) (Head, error) {
	h, err := read(ctx, c, "header.GetByHeight", func(ctx context.Context, n *node) (Head, error) {
		if err := n.reach(ctx, height, false); err != nil {
			return Head{}, err
		}
		return n.headAt(height)
	})
	return h, c.futureOr(height, err)
}

// Blobs reads the blobs of the namespaces.
func (c *localClient) Blobs(ctx context.Context, height uint64, namespaces ...Namespace) ([]Blob, error) {
	stored, err := read(ctx, c, "blob.GetAll", func(ctx context.Context, n *node) ([]*ledgerBlob, error) {
		return n.blobs(ctx, height, distinct(namespaces))
	})
	if err != nil {
		return nil, c.futureOr(height, err)
	}
	out := make([]Blob, len(stored))
	for i, b := range stored {
		out[i] = b.Blob
	}
	return out, nil
}

// futureOr is as in the network client: a wait that ended above the head is the future.
func (c *localClient) futureOr(height uint64, err error) error {
	if !errors.Is(err, errTimeout) {
		return err
	}
	if n, openErr := c.server.opened(); openErr == nil {
		if _, head := n.bounds(); head < height {
			return fmt.Errorf("%w: height %d, head %d: %w", ErrFuture, height, head, errTimeout)
		}
	}
	return err
}

// headAt is height and time of an existing block.
func (n *node) headAt(height uint64) (Head, error) {
	h, err := n.header(height)
	return Head{Height: h.height, Time: h.time, Chain: n.chainID}, err
}

// Submit posts the blobs and waits for their block.
func (c *localClient) Submit(ctx context.Context, ns Namespace, blobs [][]byte) (uint64, error) {
	const method = "blob.Submit"
	ctx, cancel := context.WithTimeout(ctx, Default().RequestTimeout)
	defer cancel()
	n, lose, err := c.begin(ctx, method)
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, fmt.Errorf("%s: %w: %w", method, ErrUnknown, ctx.Err())
	case err != nil:
		return 0, err
	}
	in := make([]*ledgerBlob, 0, len(blobs))
	for i, data := range blobs {
		commitment, err := Commit(ns, data)
		if err != nil {
			return 0, fmt.Errorf("%s: %w: blob %d: %w", method, ErrRejected, i, err)
		}
		in = append(in, &ledgerBlob{Blob: Blob{Namespace: ns, Data: bytes.Clone(data), Commitment: commitment}})
	}
	height, err := n.post(ctx, in, submitOptions{})
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, fmt.Errorf("%s: %w: %w", method, ErrUnknown, ctx.Err())
	case err != nil:
		return 0, newRPCError(method, 1, err.Error(), true)
	case lose:
		return 0, fmt.Errorf("%s: %w: answer lost", method, ErrUnknown)
	}
	return height, nil
}

// Watch sends heights until ctx ends, the server closes, or an outage begins.
func (c *localClient) Watch(ctx context.Context) (<-chan uint64, error) {
	n, _, err := c.begin(ctx, "header.Subscribe")
	if err != nil {
		return nil, err
	}
	sub, err := n.subscribe()
	if err != nil {
		return nil, newRPCError("header.Subscribe", 1, err.Error(), false)
	}
	out := make(chan uint64, 1)
	go func() {
		defer close(out)
		defer n.unsubscribe(sub)
		for {
			outage, changed := n.faults.currentOutage()
			if outage == OutageDrop || outage == OutageRefuse {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case height, ok := <-sub.heights:
				if !ok || n.faults.waitHang(ctx) != nil {
					return
				}
				offer(out, height)
			}
		}
	}()
	return out, nil
}

// offer leaves the newest height in a channel of one. There is one sender.
func offer(heights chan uint64, height uint64) {
	select {
	case heights <- height:
	default:
		select {
		case <-heights:
		default:
		}
		heights <- height
	}
}
