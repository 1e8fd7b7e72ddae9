package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry"
)

func newDA() *cobra.Command {
	c := da.DefaultServer()
	var outage string
	cmd := &cobra.Command{
		Use: "da", Short: "Run a local DA node that behaves like a Celestia node", Args: cobra.NoArgs,
		Long: `Run a local DA node for development: the JSON-RPC of a Celestia node over HTTP
and WebSocket, one validator, blocks at a steady pace, kept on disk. The switches
can also be changed while it runs: POST JSON to /control.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.Dir == "" {
				c.Dir = filepath.Join(homeOf(cmd), "da")
			}
			c.Outage = da.Outage(outage)
			log, _, err := telemetry.NewLogger(telemetry.Default().Log, cmd.ErrOrStderr())
			if err != nil {
				return withCode(exitFailed, err)
			}
			telemetry.RouteLibraries(log)
			s, err := da.NewServer(c, log.Named("da"))
			if err != nil {
				return withCode(exitConfig, err)
			}
			if err := s.Listen(cmd.Context()); err != nil {
				return withCode(exitStart, err)
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "DA node at %s, data in %s\n", s.URL(), c.Dir)
			log.Info("serving", zap.String("address", s.URL()))
			return withCode(exitFailed, s.Run(cmd.Context()))
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Listen, "listen", c.Listen, "host:port; port 0 takes a free one")
	f.StringVar(&c.Dir, "dir", "", "directory of the chain (default: <home>/da)")
	f.StringVar(&c.ChainID, "chain-id", c.ChainID, "chain id in headers")
	f.DurationVar(&c.BlockTime, "block-time", c.BlockTime, "time from block to block")
	f.StringVar(&c.AuthToken, "auth-token", "", "bearer token to ask for; empty lets everyone in")
	f.BoolVar(&c.EvNodeCompat, "ev-node-compat", false, "answer as ev-node's mock does where its client cannot read a real node")
	f.DurationVar(&c.Latency, "latency", 0, "added to every call")
	f.StringVar(&outage, "outage", string(c.Outage), "none, refuse, drop or hang")
	f.BoolVar(&c.Freeze, "freeze", false, "make no blocks")
	f.Uint64Var(&c.PruneBelow, "prune-below", 0, "forget blocks below this height")
	f.Float64Var(&c.FailRate, "fail-rate", 0, "share of calls that fail, 0 to 1")
	f.StringVar(&c.FailMethod, "fail-method", "", "limit --fail-rate to one method, like blob.Submit")
	return cmd
}
