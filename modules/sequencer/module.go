package sequencer

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/internal/fxrun"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Module provides *Producer and *Submitter and runs both.
func Module() fx.Option {
	return fx.Module("sequencer",
		fx.Provide(provideSubmitter, provideProducer),
		fx.Invoke(runSubmitter, runProducer),
	)
}

type commonIn struct {
	fx.In

	Config  Config
	Genesis block.Genesis
	Signer  Signer
	Chain   Chain
	Store   Store
	Headers Reader[*block.SignedHeader]
	Data    Reader[*block.Data]
	Log     *zap.Logger
	Tracer  *blocktrace.Tracer
}

type submitterIn struct {
	fx.In

	Common     commonIn
	Client     da.Client
	Namespaces Namespaces
	Problems   *problems.Board
}

type producerIn struct {
	fx.In

	Common      commonIn
	Executor    Executor
	Broadcaster Broadcaster
	Elsewhere   Elsewhere
	Submitter   *Submitter
	Forced      Forced
	Problems    *problems.Board
	DATime      func() DATime
	Clock       block.Clock
}

type runIn struct {
	fx.In

	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Log        *zap.Logger
}

func provideSubmitter(in submitterIn) *Submitter {
	c := in.Common
	return NewSubmitter(SubmitterParams{
		Config: c.Config, Genesis: c.Genesis, Signer: c.Signer, Chain: c.Chain, Store: c.Store,
		Headers: c.Headers, Data: c.Data, Client: in.Client, Namespaces: in.Namespaces, Problems: in.Problems,
		Log: c.Log.Named("sequencer"), Tracer: c.Tracer,
	})
}

func provideProducer(in producerIn) *Producer {
	c := in.Common
	return NewProducer(ProducerParams{
		Config: c.Config, Genesis: c.Genesis, Signer: c.Signer, Chain: c.Chain, Store: c.Store,
		Headers: c.Headers, Data: c.Data, Executor: in.Executor, Broadcaster: in.Broadcaster,
		Elsewhere: in.Elsewhere, Posted: in.Submitter, Room: in.Submitter.Largest, Forced: in.Forced, Problems: in.Problems, DATime: in.DATime, Now: in.Clock,
		Log: c.Log.Named("sequencer"), Tracer: c.Tracer,
	})
}

func runSubmitter(in runIn, s *Submitter) {
	fxrun.Go(in.Lifecycle, in.Shutdowner, in.Log, "submitter", s.Run)
}

func runProducer(in runIn, p *Producer) {
	fxrun.Go(in.Lifecycle, in.Shutdowner, in.Log, "producer", p.Run)
}
