package da

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// methods are the calls of a Client, and of a BatchReader.
const (
	callHead = iota
	callHeader
	callBlobs
	callBatch
	callSubmit
	callWatch
	methods
)

// Calls is what was asked of DA by one method, of all endpoints together. Calls
// whose caller gave up do not count.
type Calls struct {
	Method string
	// Answered were answered, Absent by that a height is still to come or gone,
	// Failed were not, or not usably.
	Answered, Absent, Failed uint64
	Time                     time.Duration // spent waiting for all of them
}

// calls counts calls by method.
type calls [methods]struct {
	answered, absent, failed atomic.Uint64
	nanos                    atomic.Int64
}

// count takes the outcome of a call that began at a time.
func (c *calls) count(ctx context.Context, method int, begin time.Time, err error) {
	m := &c[method]
	switch {
	case err == nil:
		m.answered.Add(1)
	case ctx.Err() != nil:
		return
	case errors.Is(err, ErrFuture), errors.Is(err, ErrPruned):
		m.absent.Add(1)
	default:
		m.failed.Add(1)
	}
	m.nanos.Add(int64(time.Since(begin)))
}

// all returns the methods that were called.
func (c *calls) all() []Calls {
	names := [methods]string{"head", "header", "blobs", "blobs_batch", "submit", "watch"}
	var out []Calls
	for i := range c {
		s := Calls{
			Method: names[i], Answered: c[i].answered.Load(), Absent: c[i].absent.Load(), Failed: c[i].failed.Load(),
			Time: time.Duration(c[i].nanos.Load()),
		}
		if s.Answered+s.Absent+s.Failed > 0 {
			out = append(out, s)
		}
	}
	return out
}

// counting makes a call and counts it.
func counting[T any](ctx context.Context, c *calls, method int, call func() (T, error)) (T, error) {
	begin := time.Now()
	out, err := call()
	c.count(ctx, method, begin, err)
	return out, err
}

// counted is a client whose calls are counted.
type counted struct {
	BatchClient

	calls *calls
}

// Head implements Client.
func (c counted) Head(ctx context.Context) (Head, error) {
	return counting(ctx, c.calls, callHead, func() (Head, error) { return c.BatchClient.Head(ctx) })
}

// HeaderAt implements Client.
func (c counted) HeaderAt(ctx context.Context, height uint64) (Head, error) {
	return counting(ctx, c.calls, callHeader, func() (Head, error) { return c.BatchClient.HeaderAt(ctx, height) })
}

// Blobs implements Client.
func (c counted) Blobs(ctx context.Context, height uint64, namespaces ...Namespace) ([]Blob, error) {
	return counting(ctx, c.calls, callBlobs, func() ([]Blob, error) { return c.BatchClient.Blobs(ctx, height, namespaces...) })
}

// BlobsAt implements BatchReader.
func (c counted) BlobsAt(ctx context.Context, heights []uint64, namespaces ...Namespace) ([]Reply, error) {
	return counting(ctx, c.calls, callBatch, func() ([]Reply, error) { return c.BatchClient.BlobsAt(ctx, heights, namespaces...) })
}

// Submit implements Client.
func (c counted) Submit(ctx context.Context, ns Namespace, blobs [][]byte) (uint64, error) {
	return counting(ctx, c.calls, callSubmit, func() (uint64, error) { return c.BatchClient.Submit(ctx, ns, blobs) })
}

// Watch implements Client. The call ends when the stream begins.
func (c counted) Watch(ctx context.Context) (<-chan uint64, error) {
	return counting(ctx, c.calls, callWatch, func() (<-chan uint64, error) { return c.BatchClient.Watch(ctx) })
}
