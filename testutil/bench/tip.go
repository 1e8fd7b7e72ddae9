package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// passphrase protects the key of a chain that lives for seconds.
const passphrase = "bench"

// producer makes the home of a sequencer of a new chain.
func (s *session) producer() (home string, g block.Genesis, err error) {
	home = s.newHome()
	overrides := map[string]any{"da.address": "http://127.0.0.1:9", "signer.passphrase_file": "config/passphrase"} //nolint:gosec // a file's name
	g, err = app.Init(app.InitParams{
		Home: home, Role: app.RoleSequencer, ChainID: "bench", StartTime: time.Now(), Passphrase: []byte(passphrase),
		DAStartHeight: 1, Overrides: overrides,
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "config", "passphrase"), []byte(passphrase), 0o600)
	}
	if err != nil {
		return "", g, fmt.Errorf("home: %w", err)
	}
	return home, g, nil
}

// net is a sequencer and a follower of it, each in its own process, and a DA
// node.
type net struct {
	da, sequencer, follower *child
	ready                   message // of the follower
}

func (n *net) stop() error {
	return errors.Join(n.follower.stop(), n.sequencer.stop(), n.da.stop())
}

// netSpec says what a net is.
type netSpec struct {
	blockTime  time.Duration
	lazy       bool
	followerDA bool // the follower reads DA too
	listen     string
	profile    string // of both nodes
}

func (s *session) startNet(ctx context.Context, spec netSpec) (n *net, err error) {
	n = new(net)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop())
		}
	}()
	daNode, ready, err := s.spawn(ctx, "da", daSpec{BlockTime: time.Second})
	if err != nil {
		return n, err
	}
	n.da = daNode
	home, genesis, err := s.producer()
	if err != nil {
		return n, err
	}
	more := map[string]string{
		"da.address": ready.URL, "sequencer.block_time": spec.blockTime.String(), "sequencer.submit.da_block_time": "1s",
		"da_worker.poll_interval": "1s", "p2p.listen_addresses": spec.listen,
	}
	if spec.lazy {
		more["sequencer.lazy"], more["sequencer.lazy_interval"] = "true", "1h"
	}
	sequencer, m, err := s.spawn(ctx, "node", nodeSpec{Home: home, Commits: true, Config: config(noop, more), Profile: s.profileAs(spec.profile + "-sequencer")})
	if err != nil {
		return n, err
	}
	n.sequencer = sequencer
	followerHome := s.newHome()
	if _, err := app.Init(app.InitParams{Home: followerHome, Role: app.RoleFull, Genesis: &genesis}); err != nil {
		return n, fmt.Errorf("home: %w", err)
	}
	more = map[string]string{"p2p.peers": strings.Join(m.Addrs, ","), "p2p.listen_addresses": spec.listen}
	if spec.followerDA {
		more["da.address"] = ready.URL
	}
	n.follower, n.ready, err = s.spawn(ctx, "node", nodeSpec{
		Home: followerHome, Commits: true, Config: config(noop, more), Until: 1, Profile: s.profileAs(spec.profile + "-follower"),
	})
	if err == nil {
		_, err = n.follower.wait(eventReached)
	}
	return n, err
}

const tcpOnly = "/ip4/127.0.0.1/tcp/0"

// tipCase is one way to be at the tip.
type tipCase struct {
	key, name string
	spec      netSpec
	evP50     string
	evP99     string
	cpu       bool // the follower's CPU is a figure too
}

func measureTip(ctx context.Context, s *session) error {
	const slow, fast = 100 * time.Millisecond, 10 * time.Millisecond
	for _, c := range []tipCase{
		{"tip/100ms", "tip, 100 ms blocks", netSpec{blockTime: slow, listen: tcpOnly}, "1.7", "3.8–4.4", true},
		{"tip/100ms-da", "tip, 100 ms blocks, DA beside", netSpec{blockTime: slow, followerDA: true, listen: tcpOnly}, "1.7", "3.8–4.4", false},
		{"tip/10ms", "tip, 10 ms blocks", netSpec{blockTime: fast, listen: tcpOnly}, "570–860", "", true},
		{"tip/10ms-da", "tip, 10 ms blocks, DA beside", netSpec{blockTime: fast, followerDA: true, listen: tcpOnly}, "42–87", "", false},
	} {
		for run := range s.runs {
			if err := s.tip(ctx, c, run); err != nil {
				return fmt.Errorf("%s: %w", c.key, err)
			}
		}
	}
	return nil
}

// settling is how long nodes have to settle before they are looked at.
const settling = 2 * time.Second

func (s *session) tip(ctx context.Context, c tipCase, run int) (err error) {
	c.spec.profile = c.key
	n, err := s.startNet(ctx, c.spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	if err := pause(ctx, settling); err != nil {
		return err
	}
	before, err := n.follower.ask("report")
	if err != nil {
		return err
	}
	if err := pause(ctx, pick(s, 10*time.Second, 2*time.Second)); err != nil { // long enough for 100 blocks
		return err
	}
	after, err := n.follower.ask("report")
	if err != nil {
		return err
	}
	made, err := n.sequencer.ask("report")
	if err != nil {
		return err
	}
	d := delays(made.Commits, after.Commits)
	s.addTip(c, d, run)
	const percent = 100
	wall := after.Now.At.Sub(before.Now.At).Seconds()
	if used := after.Now.CPU - before.Now.CPU; c.cpu {
		s.add(report.Figure{
			Key: c.key + "/cpu", Name: c.name + ": follower CPU", Unit: "% of a core",
			Most: map[bool]float64{true: 1}[c.key == "tip/100ms"], EvNode: map[bool]string{true: "4.7–4.9"}[c.key == "tip/100ms"],
		}, used/wall*percent, used)
		s.add(report.Figure{
			Key: c.key + "/switches", Name: c.name + ": follower's voluntary switches", Unit: "per s",
			EvNode: map[bool]string{true: "~950"}[c.key == "tip/100ms"],
		}, (after.Now.Switches-before.Now.Switches)/wall, noCPU)
	}
	return nil
}

// lag is how much later than the sequencer the follower committed a height.
type lag struct {
	height int64
	at     int64 // Unix nanoseconds at the sequencer
	ms     float64
}

// delays pairs the commits of both sides. A commit of several heights is the
// commit of each of them.
func delays(made, followed [][2]int64) []lag {
	var out []lag
	i := 0
	for _, m := range made {
		if len(followed) == 0 || m[0] < followed[0][0] {
			continue
		}
		for i < len(followed) && followed[i][0] < m[0] {
			i++
		}
		if i == len(followed) {
			break
		}
		out = append(out, lag{height: m[0], at: m[1], ms: float64(followed[i][1]-m[1]) / float64(time.Millisecond)})
	}
	return out
}

func (s *session) addTip(c tipCase, d []lag, run int) {
	if len(d) == 0 {
		return
	}
	all := make([]float64, len(d))
	for i, l := range d {
		all[i] = l.ms
	}
	third := len(all) / 3
	first, last := quantile(all[:third], half), quantile(all[len(all)-third:], half)
	s.add(report.Figure{Key: c.key + "/p50", Name: c.name + ": p50", Unit: "ms", Most: 1, EvNode: c.evP50}, quantile(all, half), noCPU)
	s.addTail(report.Figure{Key: c.key, Name: c.name, Unit: "ms", Most: 3, EvNode: c.evP99}, all)
	s.add(report.Figure{Key: c.key + "/max", Name: c.name + ": max", Unit: "ms"}, slices.Max(all), noCPU)
	s.add(report.Figure{Key: c.key + "/drift", Name: c.name + ": p50 of the last third less the first", Unit: "ms"}, last-first, noCPU)
	if run > 0 {
		return
	}
	line := report.Line{Name: c.name}
	const part = 500 * time.Millisecond // one point each
	for from := 0; from < len(d); {
		to := from
		for to < len(d) && d[to].at-d[from].at < int64(part) {
			to++
		}
		line.X = append(line.X, float64(d[from].at-d[0].at)/float64(time.Second))
		line.Y = append(line.Y, quantile(all[from:to], half))
		from = to
	}
	s.report.Draw(report.Plot{
		File: "tip", Title: "Sequencer's commit to follower's commit", XLabel: "seconds", YLabel: "ms, median of half a second",
	}, line)
}

const (
	half = 0.5
	// tailSamples is how many samples lie above a quantile at least: with fewer it
	// is the greatest of them by another name.
	tailSamples = 10
)

// addTail records the highest of p99, p90 and p75 that has tailSamples above it, and
// nothing where there are too few. A target is for whichever it is.
func (s *session) addTail(f report.Figure, values []float64) {
	const percent = 100
	for _, q := range []int{99, 90, 75} {
		if len(values)*(percent-q) < tailSamples*percent {
			continue
		}
		f.Key, f.Name = fmt.Sprintf("%s/p%d", f.Key, q), fmt.Sprintf("%s: p%d", f.Name, q)
		s.add(f, quantile(values, float64(q)/percent), noCPU)
		return
	}
}

// quantile returns the least of the values that a share q of them does not exceed.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
