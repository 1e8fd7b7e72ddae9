package da

import (

	"go.uber.org/fx"

)

// Module provides the Client that Config describes: None without an address.
func Module() fx.Option {
	return fx.Module("da", fx.Provide(provideClient))
}

func provideClient(lc fx.Lifecycle, cfg Config) (Client, error) {
	if cfg.Address == "" {
		return None{}, nil
	}
	c, err := NewCelestia(cfg)
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StopHook(c.Close))
	return c, nil
}
