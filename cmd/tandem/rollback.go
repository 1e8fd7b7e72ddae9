package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/repair"
	"github.com/tandem-node/tandem/telemetry"
)

func newRollback() *cobra.Command {
	var r repair.Rollback
	var asJSON bool
	cmd := &cobra.Command{
		Use: "rollback --to H", Short: "Roll the chain and the executor of a stopped node back to a block", Args: cobra.NoArgs,
		Long: `Remove all blocks above block H from the database of a node that does not run, and
what the executor made of them. The next start reads them again from DA and from
peers. An executor that cannot go back so far starts over, and the next start
executes all blocks again.

Blocks that are final are on DA; going below them takes --force. A sequencer's own
blocks above the final one may exist nowhere else, and its key signs no others in
their place: removing them takes --discard-unposted. The signer's memory of what
was signed (signer.state_file) is not changed.`,
		Example: `  tandem rollback --to 1200`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("to") {
				return withCode(exitUsage, errors.New("--to is missing, want the height of the block to keep"))
			}
			params, err := repairParams(cmd)
			if err != nil {
				return err
			}
			done, err := repair.RollBack(cmd.Context(), params, r)
			if err != nil {
				return withCode(codeOfHome(err), inUse(err))
			}
			return withCode(exitFailed, printAs(cmd.OutOrStdout(), asJSON, done, printRolled))
		},
	}
	cmd.Flags().AddFlagSet(app.Flags())
	cmd.Flags().Uint64Var(&r.To, "to", 0, "height of the highest block to keep")
	cmd.Flags().BoolVar(&r.Force, "force", false, "go below the final block")
	cmd.Flags().BoolVar(&r.Discard, "discard-unposted", false, "remove blocks of a sequencer that may exist nowhere else")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON")
	return cmd
}

// repairParams reads the home of a node that does not run. What the parts log is
// for the terminal of an operator: warnings and errors.
func repairParams(cmd *cobra.Command) (repair.Params, error) {
	loaded, err := loadConfig(cmd)
	if err != nil {
		return repair.Params{}, err
	}
	quiet := loaded.Config.Log
	if loaded.Origin["log.level"] == "default" {
		quiet.Level = "error"
	}
	log, _, err := telemetry.NewLogger(quiet, cmd.ErrOrStderr())
	if err != nil {
		return repair.Params{}, withCode(exitConfig, err)
	}
	params, err := app.RepairParams(homeOf(cmd), loaded.Config, log)
	return params, withCode(exitConfig, err)
}

// codeOfHome returns the exit code of an error about the databases of a home.
func codeOfHome(err error) int {
	_, damaged := errors.AsType[*leveldb.CorruptionError](err)
	_, other := errors.AsType[*chainstore.GenesisMismatch](err)
	if damaged || other || errors.Is(err, leveldb.ErrInUse) {
		return exitStart
	}
	return exitFailed
}

// inUse says what to do about a home that a node runs on.
func inUse(err error) error {
	if !errors.Is(err, leveldb.ErrInUse) {
		return err
	}
	return fmt.Errorf("a node runs on this home, stop it first: %w", err)
}

// printAs prints v as JSON, or in words.
func printAs[T any](out io.Writer, asJSON bool, v T, words func(io.Writer, T) error) error {
	if !asJSON {
		return words(out, v)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printRolled(out io.Writer, r repair.Rolled) error {
	_, err := fmt.Fprintf(out, "rolled back from block %d to %d; %d is final; the next start reads DA again from height %d\n",
		r.From, r.To, r.Final, r.DAFloor)
	if r.Discarded.Count() > 0 {
		_, _ = fmt.Fprintf(out, "%s that were not final are removed; this key signs no others in their place\n", r.Discarded)
	}
	if r.Replays {
		_, _ = fmt.Fprintln(out, "the executor could not go back so far: the next start executes all blocks again")
	}
	return err
}
