package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-node/tandem/telemetry"
	"github.com/tandem-node/tandem/telemetry/names"
)

const levelPath = "/log/level"

func newLog() *cobra.Command {
	cmd := group("log", "Show or change what a running node logs")
	level := &cobra.Command{
		Use: "level [LEVEL | MODULE=LEVEL]...", Short: "Show or change log levels while the node runs",
		Long: `Show the log levels of a running node, or change them: of everything, or of
single modules. An empty level lets a module follow the common one again. The
next start reads the config again. Levels are debug, info, warn and error;
modules are ` + strings.Join(names.LogModules(), ", ") + `.`,
		Example: `  tandem log level
  tandem log level debug
  tandem log level syncer=debug p2p=error
  tandem log level syncer=`,
		RunE: func(cmd *cobra.Command, args []string) error {
			address, err := rpcAddress(cmd)
			if err != nil {
				return err
			}
			method, body := http.MethodGet, []byte(nil)
			if len(args) > 0 {
				method = http.MethodPut
				if body, err = json.Marshal(levelsOf(args)); err != nil {
					return err
				}
			}
			raw, err := call(cmd.Context(), method, address, levelPath, body)
			if err != nil {
				return err
			}
			var now telemetry.LevelSettings
			if err := json.Unmarshal(raw, &now); err != nil {
				return withCode(exitFailed, fmt.Errorf("answer of %s: %w", address, err))
			}
			return printLevels(cmd, now)
		},
	}
	rpcFlag(level)
	cmd.AddCommand(level)
	return cmd
}

func levelsOf(args []string) telemetry.LevelSettings {
	change := telemetry.LevelSettings{Levels: map[string]string{}}
	for _, arg := range args {
		if module, level, ok := strings.Cut(arg, "="); ok {
			change.Levels[module] = level
		} else {
			change.Level = arg
		}
	}
	return change
}

func printLevels(cmd *cobra.Command, now telemetry.LevelSettings) error {
	lines := []string{now.Level}
	for _, module := range slices.Sorted(maps.Keys(now.Levels)) {
		lines = append(lines, module+"="+now.Levels[module])
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(lines, " "))
	return err
}
