package rpc

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// Module provides the *Server from Params and serves from start to stop.
func Module() fx.Option {
	return fx.Module("rpc",
		fx.Provide(New, NewClients),
		fx.Invoke(func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, s *Server) {
			lc.Append(fx.StartHook(s.Start))
			fxrun.Go(lc, sd, log, "rpc", s.Run)
		}),
	)
}
