package forced

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// WatchModule provides the *Watcher and runs it.
func WatchModule() fx.Option {
	return fx.Module("forced",
		fx.Provide(NewWatcher),
		fx.Invoke(func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, w *Watcher) {
			fxrun.Go(lc, sd, log, "forced", w.Run)
		}),
	)
}

// TakeModule provides the *Taker and runs it.
func TakeModule() fx.Option {
	return fx.Module("forced",
		fx.Provide(NewTaker),
		fx.Invoke(func(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, t *Taker) {
			fxrun.Go(lc, sd, log, "forced", t.Run)
		}),
	)
}
