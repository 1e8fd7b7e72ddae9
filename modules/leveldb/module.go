package leveldb

import (
	"context"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/internal/fxrun"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Module provides the node's *DB, which is open from start to stop, the Disk it is
// on and the *Watch that hears what happens to it. Databases of other modules use
// both. It needs a Config, a *problems.Board and a logger.
func Module() fx.Option {
	return fx.Module("leveldb", fx.Provide(newManaged, newWatch, func() Disk { return Files{} }))
}

func newManaged(lc fx.Lifecycle, cfg Config, disk Disk, watch *Watch) *DB {
	db := New(cfg, OnDisk(disk), Watched(watch))
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error { return db.Open() },
		OnStop:  func(context.Context) error { return db.Close() },
	})
	return db
}

func newWatch(lc fx.Lifecycle, sd fx.Shutdowner, board *problems.Board, log *zap.Logger) *Watch {
	w := NewWatch(board, log.Named("leveldb"))
	fxrun.Go(lc, sd, log, "disk", w.Run)
	return w
}
