package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/repair"
)

func newRepair() *cobra.Command {
	var apply, discard, asJSON bool
	cmd := &cobra.Command{
		Use: "repair", Short: "Say what is wrong with the home of a stopped node, and fix it with --apply", Args: cobra.NoArgs,
		Long: `Read the databases of a node that does not run, all of them, and say what is wrong
and what --apply would do about it: remove a damaged database or executor, roll
back below blocks that cannot stand, bring the executor to where the chain is,
rebuild an index. What is removed comes back from DA, from peers, or by executing
blocks again.

Keys, genesis file, config and the signer's memory (signer.state_file) are never
changed. A sequencer's own blocks that are not final may exist nowhere else:
removing them takes --discard-unposted.

It exits with 0 when nothing is wrong any more, and with 1 when something is.`,
		Example: `  tandem repair            what is wrong, and what would be done
  tandem repair --apply    do it`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if discard && !apply {
				return withCode(exitUsage, errors.New("--discard-unposted does something with --apply only"))
			}
			params, err := repairParams(cmd)
			if err != nil {
				return err
			}
			r, err := inspectOrApply(cmd, params, apply, discard)
			if r.Chain != "" {
				if bad := printAs(cmd.OutOrStdout(), asJSON, r, printReport); bad != nil {
					return withCode(exitFailed, bad)
				}
			}
			if err != nil {
				return withCode(codeOfHome(err), inUse(err))
			}
			return withCode(exitFailed, unfixed(r))
		},
	}
	cmd.Flags().AddFlagSet(app.Flags())
	cmd.Flags().BoolVar(&apply, "apply", false, "do what is proposed")
	cmd.Flags().BoolVar(&discard, "discard-unposted", false, "with --apply: remove blocks of a sequencer that may exist nowhere else")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return cmd
}

func inspectOrApply(cmd *cobra.Command, p repair.Params, apply, discard bool) (repair.Report, error) {
	if apply {
		return repair.Apply(cmd.Context(), p, discard)
	}
	return repair.Inspect(cmd.Context(), p)
}

// unfixed is the error of a home with which something is wrong.
func unfixed(r repair.Report) error {
	switch left, fixable := r.Left(), r.Fixable(); {
	case left == 0:
		return nil
	case fixable == 0:
		return fmt.Errorf("%s that an operator has to judge, see above", countProblems(left))
	default:
		return fmt.Errorf("%s, of which 'tandem repair --apply' fixes %d", countProblems(left), fixable)
	}
}

func countProblems(n int) string {
	if n == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", n)
}

func printReport(out io.Writer, r repair.Report) error {
	_, err := fmt.Fprintf(out, "chain %s: applied %d, final %d, executor at %d\n", r.Chain, r.Applied, r.Final, r.Executed)
	if len(r.Findings) == 0 {
		_, err = fmt.Fprintln(out, "nothing is wrong")
	}
	for _, f := range r.Findings {
		_, _ = fmt.Fprintf(out, "\n%s: %s\n", f.Kind, f.Problem)
		switch {
		case f.Done:
			_, err = fmt.Fprintf(out, "  done: %s\n", f.Fix)
		case f.Fix != "":
			_, err = fmt.Fprintf(out, "  --apply would: %s\n", f.Fix)
		default:
			_, err = fmt.Fprintf(out, "  what to do: %s\n", f.Advice)
		}
		if lost := f.Lost(); lost != "" {
			_, err = fmt.Fprintf(out, "  this removes %s; they may exist nowhere else (--discard-unposted)\n", lost)
		}
	}
	return err
}
