// Command tandem runs nodes of chains that publish their blocks over gossip and
// on a DA layer, and the tools around them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/dig"
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

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	// One line per problem, the cause first: the path through the graph helps
	// nobody at a terminal.
	var coded *exitError
	code := exitUsage
	if errors.As(err, &coded) {
		code = coded.code
	}
	for line := range strings.Lines(dig.RootCause(err).Error()) {
		fmt.Fprintln(os.Stderr, "tandem: "+strings.TrimSuffix(line, "\n"))
	}
	if code == exitUsage {
		fmt.Fprintln(os.Stderr, "tandem: see 'tandem --help'")
	}
	return code
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
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().String("home", defaultHome(), "directory of the node (or TANDEM_HOME)")
	root.AddCommand(
		newInit(), newStart(), newDevnet(), newDA(), newStatus(), newTx(), newKeys(), newConfig(), newGraph(), newVersion(),
	)
	return root
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
