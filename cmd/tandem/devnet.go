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
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/signer"
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
transactions. Ports are the usual ones where these are free; data is kept and the
chain goes on at the next run. Ctrl-C stops it.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDevnet(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", ".tandem/devnet", "where the data is kept (default with --home: that directory)")
	flags.BoolVar(&f.fresh, "fresh", false, "start over: delete the data first")
	flags.DurationVar(&f.runFor, "for", 0, "run this long unattended, check that the final heads moved and all nodes agree, and exit (0: until Ctrl-C)")
	flags.DurationVar(&f.blockTime, "block-time", time.Second, "time from block to block")
	flags.DurationVar(&f.daTime, "da-block-time", 2*time.Second, fmt.Sprintf("time from DA block to DA block, at least %s", da.MinBlockTime))
	flags.DurationVar(&f.txEvery, "tx-every", 700*time.Millisecond, "time between transactions (0: none)")
	flags.StringVar(&f.tracing, "tracing.endpoint", "", "host:port of an OTLP collector (gRPC) for the traces of all nodes (empty: none)")
	flags.StringVar(&f.viewer, "tracing.viewer", "", "URL of Jaeger's query API: print where the trace of a block is seen, once all nodes are in it")
	flags.StringVar(&f.logLevel, "log.level", "info", "level of devnet.log: debug, info, warn, error")
	return cmd
}

// validate refuses durations nothing can be made of.
func (f devnetFlags) validate() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
		want  string
	}{
		{"block-time", f.blockTime, 1, "more than 0"},
		{"da-block-time", f.daTime, da.MinBlockTime, fmt.Sprintf("at least %s", da.MinBlockTime)},
		{"for", f.runFor, 0, "0 or more"},
		{"tx-every", f.txEvery, 0, "0 or more"},
	} {
		if d.value < d.least {
			return fmt.Errorf("--%s is %s, want %s", d.flag, d.value, d.want)
		}
	}
	return nil
}

func runDevnet(cmd *cobra.Command, f devnetFlags) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if err := f.validate(); err != nil {
		return withCode(exitUsage, err)
	}
	if cmd.Flags().Changed("home") {
		if cmd.Flags().Changed("dir") {
			return withCode(exitUsage, errors.New("--home and --dir both say where the data is kept, want one of them"))
		}
		f.dir = homeOf(cmd)
	}
	lock, err := claimDevnet(f.dir, f.fresh)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
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
		FixedPorts: true,
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

// devnetLock is held by the devnet that uses a directory.
const devnetLock = "devnet.lock"

// claimDevnet takes a directory for one devnet, until the lock is closed, and empties
// it if it is to start over.
func claimDevnet(dir string, fresh bool) (lock *os.File, err error) {
	old, err := devnetFiles(dir)
	if err != nil {
		return nil, withCode(exitConfig, err)
	}
	lock, err = signer.LockFile(filepath.Join(dir, devnetLock))
	if errors.Is(err, signer.ErrLocked) {
		return nil, withCode(exitStart, fmt.Errorf("a devnet runs in %s already: stop it, or give another --dir", dir))
	}
	if err != nil {
		return nil, withCode(exitConfig, err)
	}
	for _, path := range old {
		if fresh && err == nil {
			err = os.RemoveAll(path)
		}
	}
	if err != nil {
		return nil, withCode(exitConfig, errors.Join(fmt.Errorf("--fresh: %w", err), lock.Close()))
	}
	return lock, nil
}

// devnetFiles lists what a devnet has left in a directory, without the lock. A
// directory that holds anything else is no devnet's, and is left alone.
func devnetFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	var found []string
	for _, e := range entries {
		switch e.Name() {
		case devnetLock:
		case "da", "sequencer", "follower", "da-follower", "devnet.log":
			found = append(found, filepath.Join(dir, e.Name()))
		default:
			return nil, fmt.Errorf("%s is not a devnet's: it holds %s", dir, e.Name())
		}
	}
	return found, nil
}

func introduce(out io.Writer, d *app.Devnet, dir, logPath string) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	p("DA node      %s", d.DAURL())
	for _, n := range d.Nodes {
		p("%-12s http://%s  (%s)", n.Name, n.Server.Address(), n.About)
	}
	p("data         %s", dir)
	p("log          %s", logPath)
	seq, next := d.Sequencer().Server.Address(), d.Nodes[1]
	p("")
	p("send         curl -d color=green http://%s/tx", seq)
	p("read         curl 'http://%s/kv?key=color'  (from the %s)", next.Server.Address(), next.Name)
	p("status       curl http://%s/status", seq)
	p("")
}

// watchDevnet shows the nodes until ctx ends, the time is over, or a node fails.
func watchDevnet(ctx context.Context, out io.Writer, d *app.Devnet, f devnetFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { trickle(ctx, d, f.txEvery) })
	notes := make(chan string)
	if f.viewer != "" {
		sender.Go(func() {
			showTrace(ctx, d, f.viewer, func(line string) {
				select {
				case notes <- line:
				case <-ctx.Done():
				}
			})
		})
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
		case line := <-notes:
			table.note(ctx, line)
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
	width func() int // of the terminal
	lines int        // drawn, and to be drawn over
	every time.Duration
}

func newTable(out io.Writer, d *app.Devnet) *table {
	t := &table{out: out, d: d, every: 5 * time.Second}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.live, t.every = true, time.Second
		t.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
	}
	return t
}

// note prints a line that stays, above the table.
func (t *table) note(ctx context.Context, line string) {
	t.erase()
	_, _ = fmt.Fprintln(t.out, line)
	if t.live {
		t.draw(ctx)
	}
}

func (t *table) erase() {
	if t.live && t.lines > 0 {
		_, _ = fmt.Fprintf(t.out, "\x1b[%dA\x1b[J", t.lines)
	}
	t.lines = 0
}

func (t *table) draw(ctx context.Context) {
	status := make([]rpc.Status, len(t.d.Nodes))
	names := make([]string, len(t.d.Nodes))
	for i, n := range t.d.Nodes {
		names[i], status[i] = n.Name, n.Status(ctx)
	}
	t.erase()
	for _, line := range tableOf(names, status) {
		if t.live {
			line = cut(line, t.width())
		}
		_, _ = fmt.Fprintln(t.out, line)
		t.lines++
	}
}

// tableOf returns the lines of the table: a row per node, and below the reasons of
// those that wait.
func tableOf(names []string, status []rpc.Status) []string {
	const row = "%-12s %8v %8v %8v %8v %6v %6v %9v"
	lines := []string{fmt.Sprintf(row, "node", "header", "data", "applied", "final", "lag", "peers", "blocks/s")}
	var waiting []string
	for i, s := range status {
		lines = append(lines, fmt.Sprintf(row, names[i], s.Heads.Header, s.Heads.Data, s.Heads.Applied, s.Heads.Final,
			s.Lag.Blocks, s.P2P.Peers, fmt.Sprintf("%.1f", s.Lag.Rate)))
		if s.WaitingFor != "" {
			waiting = append(waiting, names[i]+" waits for "+s.WaitingFor)
		}
	}
	return append(lines, waiting...)
}

// cut shortens a line to a width, so that a terminal does not wrap it; 0 is any width.
func cut(line string, width int) string {
	if r := []rune(line); width > 0 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return line
}
