package daworker

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// Module provides the *Worker and runs it. It needs Params, which app fills in:
// stores, namespaces and the Sink differ by role.
func Module() fx.Option {
	return fx.Module("daworker",
		fx.Provide(New),
		fx.Invoke(func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, w *Worker) {
			fxrun.Go(lc, sd, log, "daworker", w.Run)
		}),
	)
}
