package testnet

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/execution/executiontest"
)

// complete is an executor with all optional parts. Only such executors are
// probed: wrapping others would hide what they lack.
type complete = executiontest.Complete

// ErrInjected is what a failing executor returns.
var ErrInjected = errors.New("injected failure")

// Probe sits before a node's executor: it counts, fails and holds executions.
type Probe struct {
	complete
	t    testing.TB
	name string

	mu       sync.Mutex
	executed map[uint64]int // successful executions since the node started
	fail     func(height uint64) error
	before   *hold
	after    *hold
	slow     time.Duration // of each execution
	final    uint64        // last height announced as final, 0 before the first
	step     func()        // called around each execution
	dead     *atomic.Bool  // of the node: what is executed from then on nobody will see
}

// hold stops the execution of one height.
type hold struct {
	height  uint64
	reached chan struct{}
	release chan struct{}
}

func newProbe(tb testing.TB, name string, e complete, step func()) *Probe {
	tb.Helper()
	return &Probe{complete: e, t: tb, name: name, executed: map[uint64]int{}, step: step}
}

// Slow makes each execution take a while; 0 ends that.
func (p *Probe) Slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = d
}

// Fail makes ExecuteTxs fail where f returns an error; nil ends that.
func (p *Probe) Fail(f func(height uint64) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = f
}

// FailFrom makes ExecuteTxs fail with ErrInjected from a height on.
func (p *Probe) FailFrom(from uint64) {
	p.Fail(func(height uint64) error {
		if height >= from {
			return ErrInjected
		}
		return nil
	})
}

// HoldBefore stops the node where it is about to execute a height. The channel
// closes when it is there. Stop and Crash release it.
func (p *Probe) HoldBefore(height uint64) <-chan struct{} {
	return p.hold(&p.before, height)
}

// HoldAfter stops the node where it has executed a height and not committed it.
func (p *Probe) HoldAfter(height uint64) <-chan struct{} {
	return p.hold(&p.after, height)
}

func (p *Probe) hold(at **hold, height uint64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	*at = &hold{height: height, reached: make(chan struct{}), release: make(chan struct{})}
	return (*at).reached
}

// Release lets a held execution go on.
func (p *Probe) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range []**hold{&p.before, &p.after} {
		if *at != nil {
			close((*at).release)
			*at = nil
		}
	}
}

// Executions returns how often a height was executed since the node started.
func (p *Probe) Executions(height uint64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.executed[height]
}

// ExecuteTxs implements execution.Executor.
func (p *Probe) ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error) {
	p.mu.Lock()
	fail, before, slow := p.fail, p.before, p.slow
	p.mu.Unlock()
	p.step()
	if err := pause(ctx, slow); err != nil {
		return block.ExecResult{}, err
	}
	if err := before.wait(ctx, e.Height); err != nil {
		return block.ExecResult{}, err
	}
	if fail != nil {
		if err := fail(e.Height); err != nil {
			return block.ExecResult{}, err
		}
	}
	r, err := p.complete.ExecuteTxs(ctx, e)
	if err != nil {
		return r, err //nolint:wrapcheck // a pass-through
	}
	p.mu.Lock()
	p.executed[e.Height]++
	n, after := p.executed[e.Height], p.after
	p.mu.Unlock()
	if n > 1 && !p.dead.Load() {
		p.t.Errorf("%s executed block %d %d times", p.name, e.Height, n)
	}
	p.step()
	return r, after.wait(ctx, e.Height)
}

// SetFinal implements execution.Executor: each height once, in order.
func (p *Probe) SetFinal(ctx context.Context, height uint64) error {
	err := p.complete.SetFinal(ctx, height)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		if p.final != 0 && height != p.final+1 {
			p.t.Errorf("%s was told that %d is final after %d", p.name, height, p.final)
		}
		p.final = height
	}
	return err //nolint:wrapcheck // a pass-through
}

// Rollback implements execution.Rollbacker: what was undone may come again.
func (p *Probe) Rollback(ctx context.Context, height uint64) error {
	p.mu.Lock()
	for h := range p.executed {
		if h > height {
			delete(p.executed, h)
		}
	}
	p.mu.Unlock()
	return p.complete.Rollback(ctx, height) //nolint:wrapcheck // a pass-through
}

// Reset implements execution.Resetter: everything comes again.
func (p *Probe) Reset(ctx context.Context) error {
	p.mu.Lock()
	clear(p.executed)
	p.mu.Unlock()
	return p.complete.Reset(ctx) //nolint:wrapcheck // a pass-through
}

// Handler implements execution.HTTPProvider.
func (p *Probe) Handler() http.Handler { return p.complete.Handler() }

func (h *hold) wait(ctx context.Context, height uint64) error {
	if h == nil || h.height != height {
		return nil
	}
	select {
	case <-h.reached:
	default:
		close(h.reached)
	}
	select {
	case <-h.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
