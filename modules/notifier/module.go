package notifier

import (
	"go.uber.org/fx"
	"go.uber.org/zap"
)

// Module provides the node's *Notifier.
func Module() fx.Option {
	return fx.Module("notifier", fx.Provide(newLogged))
}

// newLogged reports slow subscribers at DEBUG: losing hints while catching up
// is normal and needs nobody.
func newLogged(log *zap.Logger) *Notifier {
	log = log.Named("notifier")
	return New(OnSlow(func(name string, dropped uint64) {
		log.Debug("subscriber is behind, events are dropped", zap.String("subscriber", name), zap.Uint64("dropped", dropped))
	}))
}
