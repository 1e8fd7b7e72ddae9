package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-node/tandem/testutil/bench/report"
)

// measureSequencer lets a sequencer make blocks as fast as it can, each on disk
// before anyone sees it.
func measureSequencer(ctx context.Context, s *session) error {
	for _, c := range []struct {
		key, name string
		da        daSpec
		absent    bool
	}{
		{key: "sequencer/da", name: "sequencer, noop, DA block every second", da: daSpec{BlockTime: time.Second}},
		{key: "sequencer/slow", name: "sequencer, noop, DA answers after 5 s", da: daSpec{BlockTime: time.Second, Latency: 5 * time.Second}},
		{key: "sequencer/absent", name: "sequencer, noop, DA absent", absent: true},
	} {
		for run := range s.runs {
			url, stop := "http://127.0.0.1:9", func() error { return nil }
			if !c.absent {
				daNode, m, err := s.spawn(ctx, "da", c.da)
				if err != nil {
					return err
				}
				url, stop = m.URL, daNode.stop
			}
			profile := ""
			if run == 0 {
				profile = s.profileAs(c.key)
			}
			m, err := s.produce(ctx, url, profile)
			if err = errors.Join(err, stop()); err != nil {
				return fmt.Errorf("%s: %w", c.key, err)
			}
			s.add(report.Figure{Key: c.key, Name: c.name, Unit: "blocks/s", Least: 1000}, float64(m.Height)/m.seconds(), m.cpu())
			const micro = 1e6
			s.add(report.Figure{Key: c.key + "/cpu", Name: c.name + ": CPU", Unit: "µs/block"}, m.cpu()/float64(m.Height)*micro, noCPU)
		}
	}
	return nil
}

func (s *session) produce(ctx context.Context, url, profile string) (m message, err error) {
	home, _, err := s.producer()
	if err != nil {
		return m, err
	}
	spec := nodeSpec{Home: home, Profile: profile, Config: config(noop, map[string]string{
		"da.address": url, "sequencer.block_time": "1ns", "sequencer.submit.da_block_time": "1s", "log.level": "error",
		"sequencer.begin_unchecked": "true", // a DA layer that answers late or never is what is measured
	})}
	if profile != "" {
		spec.Until = uint64(pick(s, 10_000, 1000)) //nolint:gosec // where the profile ends
	}
	c, _, err := s.spawn(ctx, "node", spec)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := pause(ctx, pick(s, 5*time.Second, time.Second)); err != nil { // a few thousand blocks
		return m, err
	}
	return c.ask("report")
}
