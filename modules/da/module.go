package da

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
)

// Module provides the Client that Params describe: None without an address.
func Module() fx.Option {
	return fx.Module("da", fx.Provide(provideClient))
}

func provideClient(lc fx.Lifecycle, sd fx.Shutdowner, params Params) (Client, error) {
	if len(params.Config.Addresses) == 0 {
		return None{}, nil
	}
	p, err := NewPool(params)
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StartStopHook(func() error { return p.Load(params.Config.Identity) }, p.Close))
	fxrun.Go(lc, sd, params.Log, "da_endpoints", p.Run)
	return p, nil
}

// ServerModule runs the local DA server that ServerConfig describes.
func ServerModule() fx.Option {
	return fx.Module("da_server", fx.Provide(NewServer), fx.Invoke(runServer))
}

// runServer opens the server at start, so that a port in use is an error of the
// start, and runs it until stop.
func runServer(lc fx.Lifecycle, sd fx.Shutdowner, log *zap.Logger, s *Server) {
	lc.Append(fx.StartStopHook(s.Listen, s.Close))
	fxrun.Go(lc, sd, log, "da_server", s.Run)
}
