package pipeline

import (
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/internal/fxrun"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
)

// Module provides the *Pipeline and loads it at start, after the store it reads.
// A replay of the executor does not hold the start up. It needs the ports, a
// Config, a genesis, a logger and a tracer.
func Module() fx.Option {
	return fx.Module("pipeline", fx.Provide(provide))
}

type deps struct {
	fx.In

	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Genesis    block.Genesis
	Store      Store
	Headers    Headers
	Data       Data
	Executor   Executor
	Events     Events
	Config     Config
	Log        *zap.Logger
	Tracer     *blocktrace.Tracer
}

func provide(d deps) *Pipeline {
	p := New(Params{
		Genesis: d.Genesis, Store: d.Store, Headers: d.Headers, Data: d.Data, Executor: d.Executor,
		Events: d.Events, Now: time.Now, Config: d.Config, Log: d.Log.Named("pipeline"), Tracer: d.Tracer,
	})
	d.Lifecycle.Append(fx.StartHook(p.Load))
	fxrun.Go(d.Lifecycle, d.Shutdowner, d.Log, "pipeline", p.Run)
	return p
}
