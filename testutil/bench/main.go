package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/tandem-node/tandem/testutil/bench/report"
)

type options struct {
	quick   bool
	list    bool
	run     string
	runs    int
	out     string
	plots   string
	docs    string
	from    string
	profile string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 1 && args[0] == childArg {
		return beChild(ctx, args[1], os.Stdin, out)
	}
	o := options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "one short run of each measurement")
	flags.BoolVar(&o.list, "list", false, "list the measurements")
	flags.StringVar(&o.run, "run", "", "regexp of the measurements to run")
	flags.IntVar(&o.runs, "runs", 5, "runs of each measurement")
	flags.StringVar(&o.out, "out", "bench/results", "directory of the JSON results; empty writes none")
	flags.StringVar(&o.plots, "plots", "docs/plots", "directory of the plots; empty draws none")
	flags.StringVar(&o.docs, "docs", "", "document whose tables of figures are brought up to date")
	flags.StringVar(&o.from, "from", "", "JSON of an earlier run to take instead of measuring")
	flags.StringVar(&o.profile, "profile", "", "directory for CPU and heap profiles of the nodes under test")
	if err := flags.Parse(args); err != nil {
		return err //nolint:wrapcheck // flag has printed it
	}
	if o.quick {
		o.runs = 1
	}
	return bench(ctx, o, out)
}

func bench(ctx context.Context, o options, out io.Writer) error {
	chosen, err := regexp.Compile(o.run)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if o.list {
		for _, m := range measurements() {
			_, _ = fmt.Fprintf(out, "%-16s %s\n", m.name, m.about)
		}
		return nil
	}
	if o.from != "" {
		r, err := report.Load(o.from)
		if err != nil {
			return err
		}
		return (&session{options: o, report: r}).show(out, o.from)
	}
	s, err := newSession(o)
	if err != nil {
		return err
	}
	defer s.close()
	for _, m := range measurements() {
		if !chosen.MatchString(m.name) {
			continue
		}
		begin := time.Now()
		_, _ = fmt.Fprintf(os.Stderr, "%-16s %s", m.name, m.about)
		if err := m.run(ctx, s); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", m.name, err), s.finish(out))
		}
		_, _ = fmt.Fprintf(os.Stderr, " (%.1f s)\n", time.Since(begin).Seconds())
		if s.out != "" { // what was measured stays when the rest is cut short
			if _, err := s.report.Save(s.out); err != nil {
				return err
			}
		}
	}
	return s.finish(out)
}

// finish prints and keeps what was measured.
func (s *session) finish(out io.Writer) error {
	r := s.report
	if len(r.Rows) == 0 {
		return errors.New("nothing measured: see -list")
	}
	r.Seconds = time.Since(r.Started).Round(time.Second).Seconds()
	name := ""
	if s.out != "" {
		var err error
		if name, err = r.Save(s.out); err != nil {
			return err
		}
	}
	return s.show(out, name)
}

// show prints the table, draws the plots and brings the document up to date
// with the report, which is in the file source.
func (s *session) show(out io.Writer, source string) error {
	r := s.report
	_, _ = fmt.Fprintf(out, "\n%s, %d cores, %.0f GB, %s, %d run(s), load before %.2f\n\n",
		r.Machine.CPU, r.Machine.Cores, r.Machine.MemoryGB, r.Machine.Go, r.Runs, r.Machine.Load)
	err := r.Table(out)
	if source != "" {
		_, _ = fmt.Fprintf(out, "\nresults: %s\n", source)
	}
	if s.plots != "" {
		err = errors.Join(err, r.SavePlots(s.plots))
	}
	if s.docs != "" {
		err = errors.Join(err, s.refresh(out, source))
	}
	return err
}

// refresh brings the tables of a document up to date.
func (s *session) refresh(out io.Writer, source string) error {
	old, err := os.ReadFile(s.docs)
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	fresh, missing := s.report.Refresh(string(old), filepath.ToSlash(source))
	for _, name := range missing {
		_, _ = fmt.Fprintf(out, "%s has no row for %q\n", s.docs, name)
	}
	if err := os.WriteFile(s.docs, []byte(fresh), 0o600); err != nil { //nolint:gosec // from the command line
		return fmt.Errorf("refresh: %w", err)
	}
	return nil
}

// measurement is one entry of the list.
type measurement struct {
	name  string
	about string
	run   func(context.Context, *session) error
}

// session is what the measurements of one run share.
type session struct {
	options

	dir    string // removed at the end
	homes  int
	chains map[chainSpec]string
	report *report.Report
}

func newSession(o options) (*session, error) {
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return &session{
		options: o, dir: dir, chains: make(map[chainSpec]string),
		report: &report.Report{Machine: report.ThisMachine(), Started: time.Now().UTC(), Runs: o.runs, Quick: o.quick},
	}, nil
}

func (s *session) close() { _ = os.RemoveAll(s.dir) }

// pick returns the size of a measurement: the smaller one for quick runs.
func pick[T any](s *session, full, quick T) T {
	if s.quick {
		return quick
	}
	return full
}

// add records one run of a figure, with the CPU seconds it took.
func (s *session) add(f report.Figure, value, cpu float64) { s.report.Add(f, value, cpu) }

// noCPU is for figures whose CPU time says nothing.
const noCPU = -1
