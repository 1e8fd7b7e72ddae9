package sequencer_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tandem-node/tandem/modules/da"
)

// fakeDA makes a block every period of (virtual) time.
type fakeDA struct {
	start  time.Time
	period time.Duration

	mu      sync.Mutex
	at      map[uint64][]da.Blob
	where   map[string][]uint64 // heights of a blob
	down    bool
	limit   int           // bytes of one submission, 0 for none
	gas     int           // blobs of one submission that the gas is enough for, 0 for all
	script  []func() fate // of the next submissions
	submits [][][]byte    // every accepted or refused call
}

// fate is what becomes of a submission.
type fate struct {
	lands []uint64 // how many DA blocks from now; empty: never
	only  int      // only so many of the blobs, 0 for all
	err   error    // what the caller hears
	says  uint64   // where it lies, by the answer; 0 for the truth
}

func newFakeDA(period time.Duration) *fakeDA {
	return &fakeDA{start: time.Now(), period: period, at: map[uint64][]da.Blob{}, where: map[string][]uint64{}}
}

func (d *fakeDA) now() uint64 { return 10 + uint64(time.Since(d.start)/d.period) }

func (d *fakeDA) head() (da.Head, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return da.Head{}, da.ErrUnavailable
	}
	return da.Head{Height: d.now(), Time: time.Now()}, nil
}

func (d *fakeDA) blobs(height uint64, ns da.Namespace) ([]da.Blob, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.down:
		return nil, da.ErrUnavailable
	case height > d.now():
		return nil, da.ErrFuture
	}
	var out []da.Blob
	for _, b := range d.at[height] {
		if b.Namespace == ns {
			out = append(out, b)
		}
	}
	return out, nil
}

func (d *fakeDA) submit(ns da.Namespace, blobs [][]byte) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return 0, da.ErrUnavailable
	}
	d.submits = append(d.submits, blobs)
	size := 0
	for _, b := range blobs {
		size += len(b)
	}
	if d.limit > 0 && size > d.limit {
		return 0, da.ErrTooLarge
	}
	if d.gas > 0 && len(blobs) > d.gas {
		return 0, da.ErrGas
	}
	f := fate{lands: []uint64{1}}
	if len(d.script) > 0 {
		f = d.script[0]()
		d.script = d.script[1:]
	}
	if f.only > 0 {
		blobs = blobs[:f.only]
	}
	for _, in := range f.lands {
		for _, b := range blobs {
			c, err := da.Commit(ns, b)
			if err != nil {
				return 0, err
			}
			d.where[string(b)] = append(d.where[string(b)], d.now()+in)
			d.at[d.now()+in] = append(d.at[d.now()+in], da.Blob{Namespace: ns, Data: b, Commitment: c})
		}
	}
	switch {
	case f.err != nil:
		return 0, f.err
	case f.says > 0:
		return f.says, nil
	case len(f.lands) == 0:
		return d.now() + 1, nil
	}
	return d.now() + f.lands[0], nil
}

// find returns the lowest height up to the head at which a blob lies, 0 when it
// does not.
func (d *fakeDA) find(blob []byte) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return 0
	}
	lowest := uint64(0)
	for _, height := range d.where[string(blob)] {
		if height <= d.now() && (lowest == 0 || height < lowest) {
			lowest = height
		}
	}
	return lowest
}

// lose takes all blobs of a height away.
func (d *fakeDA) lose(height uint64) {
	for _, b := range d.at[height] {
		d.where[string(b.Data)] = slices.DeleteFunc(d.where[string(b.Data)], func(h uint64) bool { return h == height })
	}
	delete(d.at, height)
}

func (d *fakeDA) wait(ctx context.Context, height uint64) error {
	timer := time.NewTimer(time.Until(d.start.Add(time.Duration(height-10) * d.period)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *fakeDA) set(f func(*fakeDA)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}
