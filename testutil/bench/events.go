package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// measureEvents holds the event-driven syncer beside polling.
func measureEvents(ctx context.Context, s *session) error {
	_, chain, err := blocks(ctx, chainSpec{Blocks: pick(s, 10_000, 1000), Executor: noop})
	if err != nil {
		return err
	}
	for _, every := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		c := moverCase{chain: chain, every: every, name: "polling " + every.String()}
		if every == 0 {
			c.name = "event-driven"
		}
		for range s.runs {
			if err := errors.Join(s.wakeUp(ctx, c), s.drain(ctx, c), s.quiet(ctx, c)); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

type moverCase struct {
	chain []block.Block
	every time.Duration
	name  string
}

// wakeUp measures from the end of a write to the begin of the fetch it leads to. The
// header of a block wakes the syncer, which has nothing to fetch without the data;
// the data is written when it has long gone to sleep again.
func (s *session) wakeUp(ctx context.Context, c moverCase) error {
	const asleep = time.Millisecond
	samples, gap := pick(s, 2000, 100), 200*time.Microsecond
	if c.every > 0 {
		samples, gap = max(int(pick(s, 3*time.Second, time.Second)/c.every), 3), c.every
	}
	r := newRig(c.every)
	took := make([]float64, 0, samples)
	err := r.running(ctx, func() error {
		for _, b := range c.chain[:samples] {
			if err := r.headers.Append(ctx, b.Header); err != nil {
				return fmt.Errorf("append: %w", err)
			}
			if err := pause(ctx, asleep+rand.N(2*gap)); err != nil { //nolint:gosec // timing
				return err
			}
			if err := r.data.Append(ctx, b.Data); err != nil {
				return fmt.Errorf("append: %w", err)
			}
			began := <-r.fetched
			r.dataShelf.mu.Lock()
			wrote := r.dataShelf.wrote
			r.dataShelf.mu.Unlock()
			took = append(took, float64(began.Sub(wrote))/float64(time.Microsecond))
			<-r.table.applied
		}
		return nil
	})
	if err != nil {
		return err
	}
	name := "write → fetch begins, asleep before, " + c.name
	p50 := report.Figure{Key: "event/p50/" + c.name, Name: name + ": p50", Unit: "µs"}
	tail := report.Figure{Key: "event/" + c.name, Name: name, Unit: "µs"}
	p50.EvNode = map[time.Duration]string{0: "4–5 (bare channel)", 100 * time.Millisecond: "50,000", time.Second: "530,000"}[c.every]
	if c.every == 0 {
		p50.Most, tail.Most, tail.EvNode = 10, 50, "27–29 (bare channel)"
	}
	s.add(p50, quantile(took, half), noCPU)
	s.addTail(tail, took)
	return nil
}

// drain measures how fast blocks that are stored already reach the sink, from the
// begin of the first fetch: how long a poller takes to look is wakeUp's.
func (s *session) drain(ctx context.Context, c moverCase) error {
	n := len(c.chain)
	r := newRig(c.every)
	if err := r.put(ctx, c.chain...); err != nil {
		return err
	}
	var began time.Time
	var took time.Duration
	err := r.running(ctx, func() error {
		began = <-r.fetched
		for at := uint64(0); at < uint64(n); { //nolint:gosec // a count
			at = <-r.table.applied
		}
		took = time.Since(began)
		return nil
	})
	s.add(report.Figure{
		Key: "event/drain/" + c.name, Name: count(n) + " stored blocks, first fetch → last applied, " + c.name, Unit: "ms",
	}, float64(took)/float64(time.Millisecond), noCPU)
	return err
}

// quiet measures what waiting costs.
func (s *session) quiet(ctx context.Context, c moverCase) (err error) {
	child, _, err := s.spawn(ctx, "follow", followSpec{Every: c.every})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	if err := pause(ctx, settling/4); err != nil { // nothing but the runtime has to settle
		return err
	}
	cpu, switches, err := watch(ctx, child.pid(), pick(s, 3*time.Second, time.Second)) // three ticks of the slowest
	s.add(report.Figure{Key: "event/idle/" + c.name, Name: "idle syncer, " + c.name + ": CPU", Unit: "% of a core"}, cpu, noCPU)
	s.add(report.Figure{
		Key: "event/switches/" + c.name, Name: "idle syncer, " + c.name + ": voluntary switches", Unit: "per s",
	}, switches, noCPU)
	return err
}
