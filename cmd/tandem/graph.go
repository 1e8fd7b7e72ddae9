package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
)

func newGraph() *cobra.Command {
	return &cobra.Command{
		Use: "graph ROLE", Short: "Print how the parts of a role are connected, in DOT", Args: cobra.ExactArgs(1),
		ValidArgs: app.RoleNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			role, ok := app.RoleByName(args[0])
			if !ok {
				return withCode(exitUsage, fmt.Errorf("role is %q, want one of %s", args[0], strings.Join(app.RoleNames(), ", ")))
			}
			setup, err := app.Sketch(cmd.Context(), role)
			if err != nil {
				return withCode(exitFailed, err)
			}
			dot, err := app.Graph(setup)
			if err != nil {
				return withCode(exitFailed, err)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), dot)
			return err
		},
	}
}
