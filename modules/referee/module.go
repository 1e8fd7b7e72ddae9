package referee

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// Module runs a Referee made from Params.
func Module() fx.Option {
	return fx.Module("referee",
		fx.Provide(New),
		fx.Invoke(func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, r *Referee) {
			fxrun.Go(lc, sd, log, "referee", r.Run)
		}),
	)
}
