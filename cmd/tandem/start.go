package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/telemetry"
)

// errWorker says that a worker gave up; the log has said why.
var errWorker = errors.New("stopped because a part of the node failed, see the log above")

func newStart() *cobra.Command {
	cmd := &cobra.Command{
		Use: "start", Aliases: []string{"run", "node"}, Short: "Run the node of a home", Args: cobra.NoArgs,
		Long: `Run the node of a home until SIGINT or SIGTERM. Every config key is a flag too.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return start(cmd) },
	}
	cmd.Flags().AddFlagSet(app.Flags())
	return cmd
}

func start(cmd *cobra.Command) error {
	setup, err := prepare(cmd)
	if err != nil {
		return withCode(exitConfig, err)
	}
	telemetry.RouteLibraries(setup.Log)
	app.LimitGarbage()
	if term.IsTerminal(int(os.Stderr.Fd())) && setup.Config.Log.Format == "console" {
		setup.Terminal = os.Stderr
	}
	setup.Log.Info("starting", zap.String("version", setup.Version), zap.String("role", setup.Role.Name()),
		zap.String("chain", setup.Genesis.ChainID), zap.String("home", setup.Home))
	return runNode(cmd.Context(), setup)
}

// loadConfig reads the config of the command's home, environment and flags.
func loadConfig(cmd *cobra.Command) (app.Loaded, error) {
	loaded, err := app.Load(app.Sources{Home: homeOf(cmd), Env: os.Environ(), Flags: cmd.Flags()})
	return loaded, withCode(exitConfig, err)
}

func prepare(cmd *cobra.Command) (app.Setup, error) {
	loaded, err := loadConfig(cmd)
	if err != nil {
		return app.Setup{}, err
	}
	return app.Prepare(cmd.Context(), app.PrepareParams{
		Home: homeOf(cmd), Version: buildVersion(), Config: loaded.Config, LogTo: cmd.ErrOrStderr(),
		In: os.Stdin, Prompt: cmd.ErrOrStderr(),
	})
}

// runNode runs a node until ctx ends or a worker fails.
func runNode(ctx context.Context, setup app.Setup) error {
	defer func() { _ = setup.Log.Sync() }()
	a := fx.New(app.Node(setup))
	if err := a.Err(); err != nil {
		return withCode(exitConfig, err)
	}
	starting, cancel := context.WithTimeout(ctx, a.StartTimeout())
	defer cancel()
	if err := a.Start(starting); err != nil {
		if ctx.Err() != nil { // asked to stop before it was up: what had started is stopped
			setup.Log.Info("stopped while starting")
			return nil
		}
		return withCode(exitStart, err)
	}
	var failure error
	select {
	case <-ctx.Done():
	case signal := <-a.Wait():
		if signal.ExitCode != 0 {
			failure = errWorker
		}
	}
	setup.Log.Info("stopping")
	stopping, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), a.StopTimeout())
	defer cancelStop()
	if err := a.Stop(stopping); err != nil {
		failure = errors.Join(failure, fmt.Errorf("stop: %w", err))
	}
	setup.EndTracing(stopping)
	return withCode(exitFailed, failure)
}
