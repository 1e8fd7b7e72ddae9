package pipeline

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/internal/fxrun"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Module provides the *Pipeline and loads it at start, after the store it reads.
// A replay of the executor does not hold the start up. It needs the ports, a
// Config, a genesis, a logger and a tracer.
func Module() fx.Option {
	return fx.Module("pipeline", fx.Provide(provide))
}

// ExecutorName is what the executor is called in the config, for messages.
type ExecutorName string

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
	Ahead      Ahead
	Clock      block.Clock
	Config     Config
	Name       ExecutorName
	Board      *problems.Board
	Log        *zap.Logger
	Tracer     *blocktrace.Tracer
}

func provide(d deps) *Pipeline {
	p := New(Params{
		Genesis: d.Genesis, Store: d.Store, Headers: d.Headers, Data: d.Data, Executor: d.Executor,
		Events: d.Events, Ahead: d.Ahead, Now: d.Clock, Config: d.Config,
		ExecutorName: string(d.Name), Board: d.Board, Log: d.Log.Named("pipeline"), Tracer: d.Tracer,
	})
	d.Lifecycle.Append(fx.StartHook(p.Load))
	fxrun.Go(d.Lifecycle, d.Shutdowner, d.Log, "pipeline", p.Run)
	return p
}
