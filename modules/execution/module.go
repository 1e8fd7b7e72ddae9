package execution

import (
	"context"

	"go.uber.org/fx"
	"go.uber.org/zap"
)

// Dir is the directory of the executor's state, supplied by the application.
type Dir string

// Module provides the configured [Executor], opened before whatever uses it
// starts and closed after it stopped.
func Module() fx.Option {
	return fx.Module("execution", fx.Provide(provide))
}

func provide(lc fx.Lifecycle, cfg Config, dir Dir, log *zap.Logger) (Executor, error) {
	exec, err := New(cfg, string(dir), log.Named("execution"))
	if err != nil {
		return nil, err
	}
	if r, ok := exec.(Lifecycle); ok {
		lc.Append(fx.Hook{OnStart: r.Open, OnStop: func(context.Context) error { return r.Close() }})
	}
	return exec, nil
}
