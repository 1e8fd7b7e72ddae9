// Command tandem runs nodes of chains that publish their blocks over gossip and
// on a DA layer, and the tools around them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/dig"

	"github.com/tandem-node/tandem/app"
)

// Exit codes; docs/cli.md lists them for operators.
const (
	exitOK     = 0
	exitFailed = 1 // something went wrong while running
	exitUsage  = 2 // unknown command, flag or argument
	exitConfig = 3 // config, genesis or keys cannot be used
	exitStart  = 4 // the node could not start: port, database, other chain
)

// exitError carries the exit code of an error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE) // a reader of the log that goes away does not end the node
	go func() {
		<-signals
		cancel()                 // asks for a clean stop
		const same = time.Second // some senders signal the process and its group
		for first := time.Now(); time.Since(first) < same; {
			<-signals
		}
		_, _ = fmt.Fprintln(os.Stderr, "tandem: a second signal, not waiting for the clean stop")
		os.Exit(exitFailed)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	root := newRoot() //nolint:contextcheck // commands get it from cobra
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	strictCompletion(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code := exitUsage // what cobra finds wrong
	if coded, ok := errors.AsType[*exitError](err); ok {
		code = coded.code
	}
	report(errOut, err, code, cmd.CommandPath())
	return code
}

// strictCompletion makes completion refuse a shell it does not know. It takes the
// output of root as it is now.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = noCommand, help
		}
	}
}

// report prints one line per problem, the cause first: the path through the
// graph helps nobody at a terminal.
func report(out io.Writer, err error, code int, command string) {
	for line := range strings.Lines(dig.RootCause(err).Error()) {
		_, _ = fmt.Fprintln(out, "tandem: "+strings.TrimSpace(line))
	}
	if code == exitUsage {
		_, _ = fmt.Fprintf(out, "tandem: see '%s --help'\n", command)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem",
		Short: "A node for chains that publish every block twice: over gossip and on a DA layer",
		Long: `tandem follows both sources of a chain, in tandem: gossip, which is fast, and
the DA layer, which is the truth.

Start with:
  tandem devnet                  a whole chain on this machine, nothing to configure
  tandem init --help             make a home for a node
  tandem start                   run the node of a home`,
		Version:       buildVersion(),
		Args:          noCommand,
		RunE:          help,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(wrongFlag)
	root.PersistentFlags().String("home", defaultHome(), "directory of the node (or TANDEM_HOME)")
	root.AddCommand(
		newInit(), newStart(), newDevnet(), newDA(), newStatus(), newPeers(), newEvidence(), newRepair(), newRollback(), newTx(), newKeys(), newConfig(), newNamespaces(), newLog(), newGraph(),
		newVersion(),
	)
	return root
}

// group makes a command that only has others below it: alone it prints its help.
func group(use, short string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: noCommand, RunE: help}
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// wrongFlag says what a flag takes, where its value is not that, and names the
// nearest flag where one does not exist.
func wrongFlag(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return fmt.Errorf("%w%s", err, nearFlag(cmd, unknown.GetSpecifiedName()))
	}
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	want := map[string]string{
		"bool": "true or false", "duration": "a duration like 1m30s", "int": "a whole number", "int64": "a whole number",
		"uint64": "a whole number, not negative", "float64": "a number", "size": "bytes like 67108864 or 64MiB",
	}[wrong.GetFlag().Value.Type()]
	if want == "" {
		return err
	}
	return fmt.Errorf("--%s is %q, want %s", wrong.GetFlag().Name, wrong.GetValue(), want)
}

// nearFlag suggests the flag of cmd that looks most like name.
func nearFlag(cmd *cobra.Command, name string) string {
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	if near := app.Nearest(name, known); near != "" {
		return fmt.Sprintf(", did you mean --%s?", near)
	}
	return ""
}

// arguments refuses another number of arguments than from least to most.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("%d arguments, want: %s %s", len(args), cmd.Parent().CommandPath(), cmd.Use)
		}
		return nil
	}
}

// noCommand refuses a command that does not exist, in one line.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	const near = 2
	cmd.SuggestionsMinimumDistance = near
	hint, names := "", cmd.SuggestionsFor(args[0])
	if len(names) > 0 {
		best := max(0, slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, args[0]) }))
		hint = fmt.Sprintf(", did you mean %q?", names[best])
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
}

func defaultHome() string {
	if home, ok := os.LookupEnv("TANDEM_HOME"); ok {
		return home
	}
	base, err := os.UserHomeDir()
	if err != nil {
		return ".tandem"
	}
	return base + "/.tandem"
}

func homeOf(cmd *cobra.Command) string {
	home, err := cmd.Flags().GetString("home")
	if err != nil {
		return defaultHome()
	}
	return home
}
