package da

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Failure makes calls fail.
type Failure struct {
	// Method limits it to one method, such as blob.Submit; empty means all.
	Method string `json:"method,omitempty"`
	// Next fails that many calls and is then done.
	Next int `json:"next,omitempty"`
	// Rate fails this share of calls, 0 to 1, when Next is zero.
	Rate float64 `json:"rate,omitempty"`
	// Message is the text of the error; a text of a real node makes it that error.
	Message string `json:"message,omitempty"`
	// LoseReply lets the call do its work and closes the connection instead of answering.
	LoseReply bool `json:"lose_reply,omitempty"`
}

// defaultFailure is the text of a failure that names none.
const defaultFailure = "injected failure"

// faults are the switches that change how the server answers.
type faults struct {
	mu       sync.Mutex
	latency  time.Duration
	outage   Outage
	changed  chan struct{} // closed and replaced when outage changes
	failures []Failure
}

func newFaults(cfg ServerConfig) *faults {
	f := &faults{latency: cfg.Latency, outage: cfg.Outage.orNone(), changed: make(chan struct{})}
	if cfg.FailRate > 0 {
		f.failures = []Failure{{Method: cfg.FailMethod, Rate: cfg.FailRate}}
	}
	return f
}

func (f *faults) setOutage(o Outage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outage = o.orNone()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *faults) currentOutage() (Outage, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.outage, f.changed
}

// waitHang returns when nothing hangs.
func (f *faults) waitHang(ctx context.Context) error {
	for {
		outage, changed := f.currentOutage()
		if outage != OutageHang {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass lets a call through after the latency, or fails it. It hangs in a hanging
// outage, for open sockets too. lose tells that the
// call is to be made but its answer to be lost.
func (f *faults) pass(ctx context.Context, method string) (lose bool, err error) {
	if err := f.waitHang(ctx); err != nil {
		return false, err
	}
	f.mu.Lock()
	latency := f.latency
	hit, failed := f.draw(method)
	f.mu.Unlock()
	if err := pause(ctx, latency); err != nil {
		return false, err
	}
	switch {
	case !failed:
		return false, nil
	case hit.LoseReply:
		return true, nil
	case hit.Message != "":
		return false, errors.New(hit.Message)
	}
	return false, errors.New(defaultFailure)
}

// draw finds the first failure that hits the method, and uses it up. The caller holds mu.
func (f *faults) draw(method string) (Failure, bool) {
	for i := range f.failures {
		x := &f.failures[i]
		if x.Method != "" && x.Method != method {
			continue
		}
		if x.Next == 0 {
			if rand.Float64() < x.Rate { //nolint:gosec // chance, not a secret
				return *x, true
			}
			continue
		}
		hit := *x
		if x.Next--; x.Next == 0 {
			f.failures = slices.Delete(f.failures, i, i+1)
		}
		return hit, true
	}
	return Failure{}, false
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
