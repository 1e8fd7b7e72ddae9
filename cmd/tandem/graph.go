package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/app"
)

func newGraph() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "graph ROLE", Short: "Print how the parts of a role are connected, in DOT or Mermaid", Args: arguments(1, 1),
		ValidArgs: app.RoleNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			role, ok := app.RoleByName(args[0])
			if !ok {
				return withCode(exitUsage, fmt.Errorf("role is %q, want one of %s", args[0], strings.Join(app.RoleNames(), ", ")))
			}
			draw := app.Graph
			switch format {
			case "dot":
			case "mermaid":
				draw = app.GraphMermaid
			default:
				return withCode(exitUsage, fmt.Errorf("--format is %q, want dot or mermaid", format))
			}
			setup, err := app.Sketch(cmd.Context(), role)
			if err != nil {
				return withCode(exitFailed, err)
			}
			graph, err := draw(setup)
			if err != nil {
				return withCode(exitFailed, err)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), graph)
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", "dot", "dot: every constructor; mermaid: which module uses which")
	return cmd
}
