package p2p

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// Module provides the *Node from Params, listens at start and keeps peers
// connected until stop.
func Module() fx.Option {
	return fx.Module("p2p",
		fx.Provide(New),
		fx.Invoke(func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, n *Node) {
			lc.Append(fx.Hook{OnStart: n.Start, OnStop: n.Close})
			fxrun.Go(lc, sd, log, "p2p", n.Run)
		}),
	)
}
