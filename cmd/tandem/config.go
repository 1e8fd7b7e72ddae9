package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
)

func newConfig() *cobra.Command {
	cmd := group("config", "Show or check the config of a home")
	var onlyChanged bool
	show := &cobra.Command{
		Use: "show", Short: "Show every key, its value and where it was set", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return withCode(exitFailed, showConfig(cmd, loaded, onlyChanged))
		},
	}
	show.Flags().BoolVar(&onlyChanged, "changed", false, "show only keys that differ from their defaults")
	var online bool
	check := &cobra.Command{
		Use: "check", Short: "Check config, genesis file and keys, with --online also DA endpoints and peers", Args: cobra.NoArgs,
		Long: `Check config, genesis file and keys of a home. With --online the DA endpoints and
the static peers are asked as well: head, chain and tail of the DA layer, what the
token may, the balance of a sequencer's account, the namespaces, and the ids of the
peers. Nothing is posted, and a running node is not disturbed. Every line on standard
error is one thing that is wrong.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			g, err := app.CheckHome(loaded.Config.In(homeOf(cmd)))
			if err != nil {
				return withCode(exitConfig, err)
			}
			warnGenesis(cmd, loaded.Config.In(homeOf(cmd)).GenesisFile)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ok: %s of chain %s (genesis %s)\n", loaded.Config.Role, g.ChainID, g.Hash().Short())
			if err == nil && online {
				err = showAnswers(cmd.OutOrStdout(), app.CheckOnline(cmd.Context(), loaded.Config, g))
			}
			return withCode(exitFailed, err)
		},
	}
	check.Flags().BoolVar(&online, "online", false, "ask the DA endpoints and the static peers too")
	for _, c := range []*cobra.Command{show, check} {
		c.Flags().AddFlagSet(app.Flags())
		cmd.AddCommand(c)
	}
	return cmd
}

// showAnswers prints what was found, and returns what is wrong.
func showAnswers(out io.Writer, answers []app.Answer) error {
	if len(answers) == 0 {
		_, err := fmt.Fprintln(out, "neither da.address nor p2p.peers is set: nobody to ask")
		return err
	}
	var wrong []error
	for _, a := range answers {
		if a.Err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", a.Subject, a.Err))
		} else if _, err := fmt.Fprintf(out, "%s: %s\n", a.Subject, a.Said); err != nil {
			return err
		}
	}
	return errors.Join(wrong...)
}

// secrets are keys whose values are not shown.
func secrets() []string { return []string{"da.auth_token"} }

func showConfig(cmd *cobra.Command, loaded app.Loaded, onlyChanged bool) error {
	keys := make([]string, 0, len(loaded.Origin))
	for key := range loaded.Origin {
		if !onlyChanged || loaded.Differs(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, key := range keys {
		value := app.WithoutSecrets(strings.TrimSpace(fmt.Sprint(loaded.Values[key])))
		if slices.Contains(secrets(), key) && value != "" {
			value = "(hidden)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", key, value, loaded.Origin[key])
	}
	return w.Flush()
}
