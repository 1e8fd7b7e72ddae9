package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// measureMemory catches up with a long chain and watches the memory, then opens
// the store of that chain.
func measureMemory(ctx context.Context, s *session) error {
	n := pick(s, 1_000_000, 5000)
	spec := chainSpec{Blocks: n, Executor: noop}
	if err := s.watchMemory(ctx, spec); err != nil {
		return err
	}
	home, err := s.chain(ctx, spec)
	if err != nil {
		return err
	}
	for range s.runs {
		wall, cpu, err := openStore(ctx, home)
		if err != nil {
			return err
		}
		const milli = 1e3
		s.add(report.Figure{Key: "open/1m", Name: "open a store of " + count(n) + " blocks", Unit: "ms", Most: 100}, wall*milli, cpu)
	}
	return nil
}

func (s *session) watchMemory(ctx context.Context, spec chainSpec) (err error) {
	server, addr, err := s.serve(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	for run := range s.runs {
		if err := s.memoryRun(ctx, spec, addr, run); err != nil {
			return err
		}
	}
	s.growth("P2P, empty, noop", spec.Blocks, "p2p/empty-1m/rate")
	return nil
}

func (s *session) memoryRun(ctx context.Context, spec chainSpec, addr string, run int) error {
	watched := nodeSpec{
		Config: config(noop, map[string]string{"p2p.peers": addr}), Until: uint64(spec.Blocks), //nolint:gosec // a count
		Every: pick(s, 250*time.Millisecond, 20*time.Millisecond), // some 100 points
	}
	if run == 0 {
		watched.Profile = s.profileAs("memory")
	}
	m, err := s.catchUp(ctx, watched)
	if err != nil {
		return err
	}
	s.addCatchUp(catchUpFigures{key: "p2p/empty-1m", name: "P2P, " + count(spec.Blocks) + " empty blocks, noop", least: 20_000, most: 60}, spec.Blocks, m)
	line := report.Line{Name: "P2P, empty, noop"}
	for _, x := range m.Samples {
		line.X, line.Y = append(line.X, float64(x.Height)), append(line.Y, x.RSS)
	}
	if run == 0 {
		s.report.Draw(report.Plot{
			File: "memory", Title: "Memory of a follower that catches up", XLabel: "blocks applied", YLabel: "RSS, MB",
		}, line)
	}
	name := count(spec.Blocks) + " empty blocks: "
	s.add(report.Figure{Key: "memory/peak", Name: name + "largest RSS", Unit: "MB", Most: 150, EvNode: "270–390 (50,000)"}, m.Now.Peak, noCPU)
	if len(line.Y) > 0 {
		tenth := len(line.Y) / 10
		s.add(report.Figure{Key: "memory/slope", Name: name + "RSS of the last tenth less the second", Unit: "MB", Most: 15},
			quantile(line.Y[len(line.Y)-max(tenth, 1):], half)-quantile(slices.Clone(line.Y[tenth:max(2*tenth, 1)]), half), noCPU)
	}
	return nil
}

// openStore opens and closes the store of a home, and times the opening.
func openStore(ctx context.Context, home string) (wall, cpu float64, err error) {
	cfg := app.Default().In(home)
	db := leveldb.New(cfg.DB)
	wall, cpu, err = timed(func() error {
		if err := db.Open(); err != nil {
			return fmt.Errorf("open: %w", err)
		}
		return chainstore.New(db, cfg.Store, zap.NewNop()).Open(ctx)
	})
	return wall, cpu, errors.Join(err, db.Close())
}
