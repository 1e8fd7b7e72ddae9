package chainstore

import (
	"context"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// Module provides the node's *Store. It opens at start, after the database it
// is on; what uses it starts later.
func Module() fx.Option {
	return fx.Module("chainstore", fx.Provide(newManaged))
}

func newManaged(lc fx.Lifecycle, db *leveldb.DB, cfg Config, log *zap.Logger) *Store {
	s := New(db, cfg, log.Named("chainstore"))
	lc.Append(fx.Hook{OnStart: func(ctx context.Context) error { return s.Open(ctx) }})
	return s
}
