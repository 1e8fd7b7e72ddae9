package main

import (
	"encoding/hex"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

func newNamespaces() *cobra.Command {
	cmd := &cobra.Command{
		Use: "namespaces", Short: "Show the DA namespaces of the chain of a home", Args: cobra.NoArgs,
		Long: `Show the namespaces the blobs of the chain are posted under: what they are for,
their name in the config, and the 29 bytes in hex as DA nodes take them. Explorers
show the last 10 bytes.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			g, err := block.LoadGenesis(loaded.Config.In(homeOf(cmd)).GenesisFile)
			if err != nil {
				return withCode(exitConfig, err)
			}
			return withCode(exitFailed, showNamespaces(cmd, loaded.Config.Namespaces.Of(g.ChainID)))
		},
	}
	cmd.Flags().AddFlagSet(app.Flags())
	return cmd
}

func showNamespaces(cmd *cobra.Command, names app.Namespaces) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, n := range []struct{ use, name string }{{"header", names.Header}, {"data", names.Data}, {"forced", names.Forced}} {
		if n.name == "" {
			continue
		}
		ns := da.NamespaceOf(n.name)
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", n.use, n.name, hex.EncodeToString(ns[:]))
	}
	return w.Flush()
}
