package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tandem-node/tandem/testutil/bench/report"
)

// daCase is one way to catch up from DA alone.
type daCase struct {
	figures   catchUpFigures
	spec      chainSpec
	perHeight int
	latency   time.Duration
}

func daCases(s *session) []daCase {
	ten, twenty, hundred := pick(s, 10_000, 500), pick(s, 20_000, 1000), pick(s, 100_000, 2000)
	empty := chainSpec{Blocks: ten, Executor: noop}
	const near = 5 * time.Millisecond
	return []daCase{
		{spec: empty, perHeight: 1, figures: catchUpFigures{
			key: "da/empty-0ms", name: "DA, " + count(ten) + " heights of 1 empty block, 0 ms", least: 8000,
			evRate: "2,350–3,090", evCPU: "340–580",
		}},
		{spec: chainSpec{Blocks: ten, Txs: 10, Executor: noop}, perHeight: 1, figures: catchUpFigures{
			key: "da/10tx-0ms", name: "DA, " + count(ten) + " heights of 1 block of 10 × 100 B, 0 ms", evRate: "1,970–2,340", evCPU: "340–580",
		}},
		{spec: empty, perHeight: 1, latency: near, figures: catchUpFigures{
			key: "da/empty-5ms", name: "DA, " + count(ten) + " heights of 1 empty block, 5 ms", evRate: "78",
		}},
		{spec: empty, perHeight: 1, latency: farLink, figures: catchUpFigures{
			key: "da/empty-50ms", name: "DA, " + count(ten) + " heights of 1 empty block, 50 ms", least: 2000, evRate: "9.7",
		}},
		{spec: chainSpec{Blocks: hundred, Executor: noop}, perHeight: 100, latency: farLink, figures: catchUpFigures{
			key: "da/batch-50ms", name: "DA, " + count(hundred/100) + " heights of 100 empty blocks, 50 ms", least: 15_000,
		}},
		{spec: chainSpec{Blocks: twenty, Txs: 10, Executor: noop}, perHeight: 100, latency: farLink, figures: catchUpFigures{
			key: "da/batch-10tx-50ms", name: "DA, " + count(twenty/100) + " heights of 100 blocks of 10 × 100 B, 50 ms",
		}},
	}
}

func measureDA(ctx context.Context, s *session) error {
	for _, c := range daCases(s) {
		if err := s.daCase(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) daCase(ctx context.Context, c daCase) (err error) {
	home, err := s.chain(ctx, c.spec)
	if err != nil {
		return err
	}
	server, ready, err := s.spawn(ctx, "da", daSpec{
		Home: home, PerHeight: c.perHeight, Latency: c.latency, Profile: s.profileAs(c.figures.key + "-server"),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	for run := range s.runs {
		spec := nodeSpec{
			Config: config(c.spec.Executor, map[string]string{
				"da.address": ready.URL, "p2p.disabled": "true", "namespaces.header": headerSpace, "namespaces.data": dataSpace,
			}),
			Until: uint64(c.spec.Blocks), Final: true, //nolint:gosec // a count
		}
		if run == 0 {
			spec.Profile = s.profileAs(c.figures.key)
		}
		m, err := s.catchUp(ctx, spec)
		if err != nil {
			return fmt.Errorf("%s: %w", c.figures.key, err)
		}
		s.addCatchUp(c.figures, c.spec.Blocks, m)
	}
	return nil
}

// measureRestart applies what a node has stored and not applied, as after a
// power cut or behind a slow executor.
func measureRestart(ctx context.Context, s *session) error {
	fifty, hundred := pick(s, 50_000, 2000), pick(s, 100_000, 2000)
	for _, c := range []struct {
		figures catchUpFigures
		spec    chainSpec
	}{
		{spec: chainSpec{Blocks: hundred, Executor: noop, Unseen: true}, figures: catchUpFigures{
			key: "restart/empty", name: "restart with " + count(hundred) + " stored empty blocks, noop", least: 30_000, evRate: "83–93 (500)",
		}},
		{spec: chainSpec{Blocks: fifty, Txs: 10, Executor: noop, Unseen: true}, figures: catchUpFigures{
			key: "restart/10tx", name: "restart with " + count(fifty) + " stored blocks of 10 × 100 B, noop", least: 30_000,
		}},
	} {
		home, err := s.chain(ctx, c.spec)
		if err != nil {
			return err
		}
		for run := range s.runs {
			spec := nodeSpec{Home: s.newHome(), Config: config(c.spec.Executor, nil), Until: uint64(c.spec.Blocks)} //nolint:gosec // a count
			if run == 0 {
				spec.Profile = s.profileAs(c.figures.key)
			}
			if err := os.CopyFS(spec.Home, os.DirFS(home)); err != nil {
				return fmt.Errorf("copy home: %w", err)
			}
			m, err := s.catchUp(ctx, spec)
			if err != nil {
				return fmt.Errorf("%s: %w", c.figures.key, err)
			}
			s.addCatchUp(c.figures, c.spec.Blocks, m)
		}
	}
	return nil
}

// measureDeadPeer is the first block of a node whose only peer is dead and whose
// DA is alive.
func measureDeadPeer(ctx context.Context, s *session) (err error) {
	home, err := s.chain(ctx, chainSpec{Blocks: pick(s, 10_000, 500), Executor: noop})
	if err != nil {
		return err
	}
	server, ready, err := s.spawn(ctx, "da", daSpec{Home: home, PerHeight: 100})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	for range s.runs {
		m, err := s.catchUp(ctx, nodeSpec{Until: 1, Config: config(noop, map[string]string{
			"da.address": ready.URL, "namespaces.header": headerSpace, "namespaces.data": dataSpace,
			"p2p.peers": "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWGRUnvJDcPeH3QrWwaTWFu7sFMyRJZHKQpN5ZP3JSfEXC",
		})})
		if err != nil {
			return err
		}
		s.add(report.Figure{Key: "dead-peer", Name: "first block with a dead peer and a live DA", Unit: "s", EvNode: "30.9"},
			m.seconds(), m.cpu())
	}
	return nil
}
