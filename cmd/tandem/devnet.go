package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/telemetry"
)

type devnetFlags struct {
	dir       string
	fresh     bool
	runFor    time.Duration
	blockTime time.Duration
	daTime    time.Duration
	txEvery   time.Duration
	logLevel  string
	tracing   string
	viewer    string
}

func newDevnet() *cobra.Command {
	f := devnetFlags{}
	cmd := &cobra.Command{
		Use: "devnet", Short: "Run a whole chain on this machine: DA, a sequencer and two followers", Args: cobra.NoArgs,
		Long: `Run a whole chain in one process with nothing to configure: a local DA node, a
sequencer, a follower on P2P and DA, a follower on DA alone, and a trickle of
transactions. Ports are free ones; data is kept and the chain goes on at the
next run. Ctrl-C stops it.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDevnet(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", ".tandem/devnet", "where the data is kept")
	flags.BoolVar(&f.fresh, "fresh", false, "start over: delete the data first")
	flags.DurationVar(&f.runFor, "for", 0, "run this long unattended, check that the final heads moved and all nodes agree, and exit (0: until Ctrl-C)")
	flags.DurationVar(&f.blockTime, "block-time", time.Second, "time from block to block")
	flags.DurationVar(&f.daTime, "da-block-time", 2*time.Second, "time from DA block to DA block")
	flags.DurationVar(&f.txEvery, "tx-every", 700*time.Millisecond, "time between transactions (0: none)")
	flags.StringVar(&f.tracing, "tracing.endpoint", "", "host:port of an OTLP collector (gRPC) for the traces of all nodes (empty: none)")
	flags.StringVar(&f.viewer, "tracing.viewer", "", "URL of Jaeger's query API: print where the trace of a block is seen, once all nodes are in it")
	flags.StringVar(&f.logLevel, "log.level", "info", "level of devnet.log: debug, info, warn, error")
	return cmd
}

func runDevnet(cmd *cobra.Command, f devnetFlags) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if f.fresh {
		if err := removeDevnet(f.dir); err != nil {
			return withCode(exitConfig, err)
		}
	}
	if err := os.MkdirAll(f.dir, 0o750); err != nil {
		return withCode(exitConfig, fmt.Errorf("--dir: %w", err))
	}
	logPath := filepath.Join(f.dir, "devnet.log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the user names the directory
	if err != nil {
		return withCode(exitConfig, fmt.Errorf("log: %w", err))
	}
	defer func() { _ = logFile.Close() }()
	routing, _, err := telemetry.NewLogger(telemetry.LogConfig{Level: f.logLevel, Format: "console"}, logFile)
	if err != nil {
		return withCode(exitConfig, err)
	}
	telemetry.RouteLibraries(routing)
	app.LimitGarbage()
	d, err := app.StartDevnet(ctx, app.DevnetParams{
		Dir: f.dir, Version: buildVersion(), BlockTime: f.blockTime, DATime: f.daTime, LogTo: logFile, LogLevel: f.logLevel, Tracing: f.tracing,
	})
	if err != nil {
		return withCode(exitStart, err)
	}
	introduce(out, d, f.dir, logPath)
	watchErr := watchDevnet(ctx, out, d, f)
	_, _ = fmt.Fprintln(out, "stopping")
	begin := time.Now()
	err = errors.Join(watchErr, d.Stop(context.WithoutCancel(ctx)))
	if err == nil {
		_, _ = fmt.Fprintf(out, "stopped in %s, data kept in %s\n", time.Since(begin).Round(time.Millisecond), f.dir)
	}
	return withCode(exitFailed, err)
}

// removeDevnet deletes a devnet's data, and refuses to delete anything else.
func removeDevnet(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--fresh: %w", err)
	}
	known := map[string]bool{"da": true, "sequencer": true, "follower": true, "da-follower": true, "devnet.log": true}
	for _, e := range entries {
		if !known[e.Name()] {
			return fmt.Errorf("--fresh: %s is not a devnet's: it holds %s", dir, e.Name())
		}
	}
	return os.RemoveAll(dir)
}

func introduce(out io.Writer, d *app.Devnet, dir, logPath string) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	p("DA node      %s", d.DAURL())
	for _, n := range d.Nodes {
		p("%-12s http://%s  (%s)", n.Name, n.Server.Address(), n.About)
	}
	p("data         %s, log in %s", dir, logPath)
	seq, next := d.Sequencer().Server.Address(), d.Nodes[1]
	p("")
	p("send         curl -d color=green http://%s/tx", seq)
	p("read         curl 'http://%s/kv?key=color'  (from the %s; who follows DA alone has it some DA blocks later)", next.Server.Address(), next.Name)
	p("status       curl http://%s/status", seq)
	p("")
}

// watchDevnet shows the nodes until ctx ends, the time is over, or a node fails.
func watchDevnet(ctx context.Context, out io.Writer, d *app.Devnet, f devnetFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { trickle(ctx, d, f.txEvery) })
	if f.viewer != "" {
		sender.Go(func() { showTrace(ctx, out, d, f.viewer) })
	}
	defer sender.Wait()
	defer cancel()
	var over <-chan time.Time
	if f.runFor > 0 {
		over = time.After(f.runFor)
	}
	begin, before := time.Now(), finals(ctx, d)
	table := newTable(out, d)
	tick := time.NewTicker(table.every)
	defer tick.Stop()
	failed := d.Failed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-tick.C:
			table.draw(ctx)
		case <-over:
			if unmoved(ctx, d, before) != nil && time.Since(begin) < f.runFor+devnetGrace {
				over = time.After(devnetLook)
				continue
			}
			return checkDevnet(ctx, out, d, before)
		}
	}
}

// How long and how often an unattended run looks again when a final head has not
// moved: the machine may have had other things to do.
const (
	devnetGrace = time.Minute
	devnetLook  = 100 * time.Millisecond
)

func finals(ctx context.Context, d *app.Devnet) []uint64 {
	out := make([]uint64, len(d.Nodes))
	for i, n := range d.Nodes {
		out[i] = n.Status(ctx).Heads.Final
	}
	return out
}

// checkDevnet is the verdict of an unattended run.
func checkDevnet(ctx context.Context, out io.Writer, d *app.Devnet, before []uint64) error {
	a, err := d.Agree(ctx)
	if err != nil {
		return err
	}
	if err := unmoved(ctx, d, before); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "all %d nodes agree: height %d, state root %X, final head %d\n", len(d.Nodes), a.Height, a.Root, a.Final)
	return nil
}

// unmoved names a node whose final head is where it was.
func unmoved(ctx context.Context, d *app.Devnet, before []uint64) error {
	for i, n := range d.Nodes {
		if final := n.Status(ctx).Heads.Final; final <= before[i] {
			return fmt.Errorf("%s: the final head did not move, it is %d", n.Name, final)
		}
	}
	return nil
}

// trickle sends a transaction now and then, as users would.
func trickle(ctx context.Context, d *app.Devnet, every time.Duration) {
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	address := d.Sequencer().Server.Address()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			// The mempool may be full: the next one tries again.
			_, _ = call(ctx, "POST", address, "/tx", fmt.Appendf(nil, "trickle/%d=%s", n%100, at.Format(time.RFC3339Nano)))
		}
	}
}

// table shows the nodes: redrawn in place on a terminal, now and then elsewhere.
type table struct {
	out   io.Writer
	d     *app.Devnet
	live  bool
	drawn bool
	every time.Duration
}

func newTable(out io.Writer, d *app.Devnet) *table {
	t := &table{out: out, d: d, every: 5 * time.Second}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.live, t.every = true, time.Second
	}
	return t
}

func (t *table) draw(ctx context.Context) {
	if t.live && t.drawn {
		_, _ = fmt.Fprintf(t.out, "\x1b[%dA\x1b[J", len(t.d.Nodes)+1)
	}
	t.drawn = true
	const row = "%-12s %8v %8v %8v %8v %6v %6v %9v  %s\n"
	_, _ = fmt.Fprintf(t.out, row, "node", "header", "data", "applied", "final", "lag", "peers", "blocks/s", "waiting for")
	for _, n := range t.d.Nodes {
		s := n.Status(ctx)
		_, _ = fmt.Fprintf(t.out, row, n.Name, s.Heads.Header, s.Heads.Data, s.Heads.Applied, s.Heads.Final,
			s.Lag.Blocks, s.P2P.Peers, fmt.Sprintf("%.1f", s.Lag.Rate), s.WaitingFor)
	}
}
