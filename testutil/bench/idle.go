package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-node/tandem/testutil/bench/report"
)

// measureIdle watches a follower to which nothing comes. It is looked at from
// outside, so that looking does not wake it.
func measureIdle(ctx context.Context, s *session) error {
	const both = "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1" // as by default
	for _, c := range []struct {
		key, name string
		spec      netSpec
		target    bool
	}{
		{"idle/p2p", "idle follower, one peer", netSpec{listen: both}, true},
		{"idle/da", "idle follower, one peer, DA block every second", netSpec{listen: both, followerDA: true}, false},
	} {
		c.spec.lazy, c.spec.blockTime = true, time.Second
		for range s.runs {
			cpu, switches, err := s.idle(ctx, c.spec)
			if err != nil {
				return fmt.Errorf("%s: %w", c.key, err)
			}
			figure := report.Figure{Key: c.key + "/cpu", Name: c.name + ": CPU", Unit: "% of a core", EvNode: "2.4–2.9"}
			wakeups := report.Figure{Key: c.key + "/switches", Name: c.name + ": voluntary switches", Unit: "per s", EvNode: "700"}
			if c.target {
				figure.Most, wakeups.Most = 0.1, 20
			}
			s.add(figure, cpu, noCPU)
			s.add(wakeups, switches, noCPU)
		}
	}
	return nil
}

func (s *session) idle(ctx context.Context, spec netSpec) (cpu, switches float64, err error) {
	n, err := s.startNet(ctx, spec)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	// What a new connection brings with it takes a while to fall silent.
	if err := pause(ctx, pick(s, 3*settling, settling)); err != nil { // as said
		return 0, 0, err
	}
	return watch(ctx, n.follower.pid(), pick(s, 10*time.Second, 2*time.Second))
}

// watch returns the CPU of a process, in percent of a core, and its voluntary
// context switches per second.
func watch(ctx context.Context, pid int, d time.Duration) (cpu, switches float64, err error) {
	before, err := usageOf(pid)
	if err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, d); err != nil {
		return 0, 0, err
	}
	after, err := usageOf(pid)
	const percent = 100
	wall := after.At.Sub(before.At).Seconds()
	return (after.CPU - before.CPU) / wall * percent, (after.Switches - before.Switches) / wall, err
}
