package progress

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// Module runs a Reporter made from Params.
func Module() fx.Option {
	return fx.Module("progress",
		fx.Provide(New),
		fx.Invoke(func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, r *Reporter) {
			fxrun.Go(lc, sd, log, "progress", r.Run)
		}),
	)
}
