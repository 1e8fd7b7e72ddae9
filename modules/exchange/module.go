package exchange

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// Module exchanges headers and data. It needs HeaderParams and DataParams.
func Module() fx.Option {
	return fx.Options(HeadersModule(), DataModule())
}

// HeadersModule exchanges headers alone. It needs HeaderParams.
func HeadersModule() fx.Option {
	return fx.Module("exchange-headers", fx.Provide(NewHeaders), fx.Invoke(runHeaders))
}

// DataModule exchanges data. It needs DataParams.
func DataModule() fx.Option {
	return fx.Module("exchange-data", fx.Provide(NewData), fx.Invoke(runData))
}

type lifecycle struct {
	fx.In

	Lifecycle  fx.Lifecycle
	Shutdowner fx.Shutdowner
	Log        *zap.Logger
}

func runHeaders(p lifecycle, e *Exchange[*block.SignedHeader]) {
	fxrun.Go(p.Lifecycle, p.Shutdowner, p.Log, "exchange-headers", e.Run)
}

func runData(p lifecycle, e *Exchange[*block.Data]) {
	fxrun.Go(p.Lifecycle, p.Shutdowner, p.Log, "exchange-data", e.Run)
}
