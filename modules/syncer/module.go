package syncer

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/internal/fxrun"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/telemetry/stages"
)

// Module follows headers and data.
func Module() fx.Option {
	return fx.Module("syncer", fx.Provide(newBlocks), fx.Invoke(start))
}

// HeadersModule follows headers only.
func HeadersModule() fx.Option {
	return fx.Module("syncer", fx.Provide(newHeaders), fx.Invoke(start))
}

type common struct {
	fx.In

	Headers  Source[*block.SignedHeader]
	Sink     Sink
	Notifier *notifier.Notifier
	Config   Config
	Clock    block.Clock
	Log      *zap.Logger
	Tracer   *blocktrace.Tracer
	Stages   *stages.Recorder
	Problems *problems.Board
}

func (c common) params() Params {
	return Params{
		Headers: c.Headers, Sink: c.Sink, Notifier: c.Notifier, Config: c.Config, Now: c.Clock,
		Log: c.Log.Named("syncer"), Tracer: c.Tracer, Stages: c.Stages, Problems: c.Problems,
	}
}

func newBlocks(c common, data Source[*block.Data], hold Hold) *Syncer {
	p := c.params()
	p.Data, p.Hold = data, hold
	return New(p)
}

func newHeaders(c common) *Syncer { return New(c.params()) }

func start(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, s *Syncer) {
	fxrun.Go(lc, sd, log, "syncer", s.Run)
}
