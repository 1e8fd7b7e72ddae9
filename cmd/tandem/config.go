package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
)

func newConfig() *cobra.Command {
	cmd := group("config", "Show or check the config of a home")
	show := &cobra.Command{
		Use: "show", Short: "Show every key, its value and where it was set", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return withCode(exitFailed, showConfig(cmd, loaded))
		},
	}
	check := &cobra.Command{
		Use: "check", Short: "Check config, genesis file and keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			g, err := app.CheckHome(loaded.Config.In(homeOf(cmd)))
			if err != nil {
				return withCode(exitConfig, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ok: %s of chain %s (genesis %s)\n", loaded.Config.Role, g.ChainID, g.Hash().Short())
			return withCode(exitFailed, err)
		},
	}
	for _, c := range []*cobra.Command{show, check} {
		c.Flags().AddFlagSet(app.Flags())
		cmd.AddCommand(c)
	}
	return cmd
}

// secrets are keys whose values are not shown.
func secrets() []string { return []string{"da.auth_token"} }

func showConfig(cmd *cobra.Command, loaded app.Loaded) error {
	keys := make([]string, 0, len(loaded.Origin))
	for key := range loaded.Origin {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, key := range keys {
		value := strings.TrimSpace(fmt.Sprint(loaded.Values[key]))
		if slices.Contains(secrets(), key) && value != "" {
			value = "(hidden)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", key, value, loaded.Origin[key])
	}
	return w.Flush()
}
