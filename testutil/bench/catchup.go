package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/bench/delay"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// Names of built-in executors.
const (
	noop = "noop"
	kv   = "kv"
)

// config is what every node of the benchmarks has in its config.
func config(executor string, more map[string]string) map[string]string {
	c := map[string]string{
		"log.level": "warn", "rpc.address": "", "p2p.dht": "false", "execution.name": executor,
		"p2p.listen_addresses": "/ip4/127.0.0.1/tcp/0",
	}
	maps.Copy(c, more)
	return c
}

// follower makes an empty home for a full node of the chain all specs share.
func (s *session) follower() (string, error) {
	home := s.newHome()
	genesis := testutil.NewChain("bench").Genesis
	if _, err := app.Init(app.InitParams{Home: home, Role: app.RoleFull, Genesis: &genesis}); err != nil {
		return "", fmt.Errorf("home: %w", err)
	}
	return home, nil
}

// catchUp runs a new follower until it is where spec says, and returns what it
// said then.
func (s *session) catchUp(ctx context.Context, spec nodeSpec) (m message, err error) {
	if spec.Home == "" {
		if spec.Home, err = s.follower(); err != nil {
			return m, err
		}
	}
	defer func() { _ = os.RemoveAll(spec.Home) }()
	c, _, err := s.spawn(ctx, "node", spec)
	if err != nil {
		return m, err
	}
	m, err = c.wait(eventReached)
	return m, errors.Join(err, c.stop())
}

// profileAs returns where the profile of a node goes, nothing without -profile.
func (s *session) profileAs(name string) string {
	if s.profile == "" {
		return ""
	}
	return filepath.Join(s.profile, strings.ReplaceAll(name, "/", "-"))
}

// serve starts a full node that has a chain and serves it to peers.
func (s *session) serve(ctx context.Context, spec chainSpec) (*child, string, error) {
	home, err := s.chain(ctx, spec)
	if err != nil {
		return nil, "", err
	}
	c, m, err := s.spawn(ctx, "node", nodeSpec{Home: home, Config: config(spec.Executor, nil)})
	if err != nil {
		return nil, "", err
	}
	if len(m.Addrs) != 1 || m.Height != uint64(spec.Blocks) { //nolint:gosec // a count
		return nil, "", errors.Join(fmt.Errorf("server listens on %v and has %d blocks", m.Addrs, m.Height), c.stop())
	}
	return c, m.Addrs[0], nil
}

// catchUpFigures are the three figures of one way to catch up.
type catchUpFigures struct {
	key, name string
	least     float64 // blocks/s
	most      float64 // CPU µs per block
	evRate    string
	evCPU     string
	evRSS     string
}

func (s *session) addCatchUp(f catchUpFigures, n int, m message) {
	const micro = 1e6
	s.add(report.Figure{Key: f.key + "/rate", Name: f.name, Unit: "blocks/s", Least: f.least, EvNode: f.evRate},
		float64(n)/m.seconds(), m.cpu())
	s.add(report.Figure{Key: f.key + "/cpu", Name: f.name + ": follower CPU", Unit: "µs/block", Most: f.most, EvNode: f.evCPU},
		m.cpu()/float64(n)*micro, noCPU)
	s.add(report.Figure{Key: f.key + "/rss", Name: f.name + ": RSS after", Unit: "MB", EvNode: f.evRSS}, m.Now.RSS, noCPU)
}

// p2pCase is one way to catch up over P2P.
type p2pCase struct {
	figures catchUpFigures
	spec    chainSpec
	rtt     time.Duration
}

func p2pCases(s *session) []p2pCase {
	ten, fifty, hundred := pick(s, 10_000, 1000), pick(s, 50_000, 2000), pick(s, 100_000, 2000)
	return []p2pCase{
		{spec: chainSpec{Blocks: ten, Executor: noop}, figures: catchUpFigures{
			key: "p2p/empty-10k", name: "P2P, " + count(ten) + " empty blocks, noop", least: 20_000, most: 60,
			evRate: "94 (no sleep: 3,500–4,100)", evCPU: "860–920 (220–260)", evRSS: "180–260",
		}},
		{spec: chainSpec{Blocks: hundred, Executor: noop}, figures: catchUpFigures{
			key: "p2p/empty-100k", name: "P2P, " + count(hundred) + " empty blocks, noop", least: 20_000, most: 60, evRSS: "270–390 (50,000)",
		}},
		{spec: chainSpec{Blocks: hundred, Executor: kv}, figures: catchUpFigures{
			key: "p2p/empty-100k-kv", name: "P2P, " + count(hundred) + " empty blocks, kv", least: 20_000, most: 60,
		}},
		{spec: chainSpec{Blocks: ten, Txs: 10, Executor: noop}, figures: catchUpFigures{
			key: "p2p/10tx-10k", name: "P2P, " + count(ten) + " blocks of 10 × 100 B, noop", least: 12_000,
			evRate: "93 (no sleep: 3,500–4,100)", evCPU: "860–920 (220–260)",
		}},
		{spec: chainSpec{Blocks: fifty, Txs: 10, Executor: noop}, figures: catchUpFigures{
			key: "p2p/10tx-50k", name: "P2P, " + count(fifty) + " blocks of 10 × 100 B, noop", least: 12_000,
		}},
		{spec: chainSpec{Blocks: ten, Txs: 10, Executor: kv}, figures: catchUpFigures{
			key: "p2p/10tx-10k-kv", name: "P2P, " + count(ten) + " blocks of 10 × 100 B, kv",
		}},
		{spec: chainSpec{Blocks: hundred, Executor: noop}, rtt: farLink, figures: catchUpFigures{
			key: "p2p/far-100k", name: "P2P, " + count(hundred) + " empty blocks, noop, 50 ms RTT", least: 10_000,
		}},
		{spec: chainSpec{Blocks: ten, Executor: noop}, rtt: farLink, figures: catchUpFigures{
			key: "p2p/far-10k", name: "P2P, " + count(ten) + " empty blocks, noop, 50 ms RTT",
		}},
		{spec: chainSpec{Blocks: fifty, Txs: 10, Executor: noop}, rtt: farLink, figures: catchUpFigures{
			key: "p2p/far-10tx-50k", name: "P2P, " + count(fifty) + " blocks of 10 × 100 B, noop, 50 ms RTT",
		}},
	}
}

// farLink is the round trip of a far peer and of a far DA node.
const farLink = 50 * time.Millisecond

func measureP2P(ctx context.Context, s *session) error {
	for _, c := range p2pCases(s) {
		if err := s.p2pCase(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) p2pCase(ctx context.Context, c p2pCase) (err error) {
	server, addr, err := s.serve(ctx, c.spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if c.rtt > 0 {
		far, through, err := lengthen(ctx, addr, c.rtt)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, far.Close()) }()
		addr = through
	}
	for run := range s.runs {
		spec := nodeSpec{
			Config: config(c.spec.Executor, map[string]string{"p2p.peers": addr}), Until: uint64(c.spec.Blocks), //nolint:gosec // a count
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
	if c.rtt == 0 && c.spec.Txs == 0 && c.spec.Executor == noop {
		s.growth("P2P, empty, noop", c.spec.Blocks, c.figures.key+"/rate")
	}
	return nil
}

// lengthen puts a delay in front of a node and returns the address through it.
func lengthen(ctx context.Context, addr string, rtt time.Duration) (*delay.Proxy, string, error) {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return nil, "", fmt.Errorf("address: %w", err)
	}
	port, err := info.Addrs[0].ValueForProtocol(multiaddr.P_TCP)
	if err != nil {
		return nil, "", fmt.Errorf("address: %w", err)
	}
	p, err := delay.Listen(ctx, "127.0.0.1:"+port, delay.Link{RTT: rtt})
	if err != nil {
		return nil, "", err
	}
	_, port, _ = strings.Cut(p.Addr(), ":")
	return p, fmt.Sprintf("/ip4/127.0.0.1/tcp/%s/p2p/%s", port, info.ID), nil
}

// growth adds the median of a figure to the plot of rate by length.
func (s *session) growth(line string, n int, key string) {
	s.point(report.Plot{
		File: "growth", Title: "Catch-up by length of the chain", XLabel: "blocks", YLabel: "blocks/s", LogX: true,
	}, line, float64(n), s.median(key))
}

// median returns the median of a figure that was measured.
func (s *session) median(key string) float64 {
	for _, row := range s.report.Rows {
		if row.Key == key {
			return row.Median()
		}
	}
	return 0
}

// point adds one point to a line of a plot.
func (s *session) point(p report.Plot, line string, x, y float64) {
	l := report.Line{Name: line}
	for _, have := range s.report.Plots {
		for _, old := range have.Lines {
			if have.File == p.File && old.Name == line {
				l = old
			}
		}
	}
	l.X, l.Y = append(l.X, x), append(l.Y, y)
	s.report.Draw(p, l)
}

// count writes a number as text.
func count(n int) string { return report.Number(float64(n)) }
