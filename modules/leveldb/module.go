package leveldb

import (
	"context"

	"go.uber.org/fx"
)

// Module provides the node's *DB, which is open from start to stop.
func Module() fx.Option {
	return fx.Module("leveldb", fx.Provide(newManaged))
}

func newManaged(lc fx.Lifecycle, cfg Config) *DB {
	db := New(cfg)
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error { return db.Open() },
		OnStop:  func(context.Context) error { return db.Close() },
	})
	return db
}
