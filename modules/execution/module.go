package execution

import (
	"context"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// Dir is the directory of the executor's state, supplied by the application.
type Dir string

// Module provides the configured [Executor], opened before whatever uses it
// starts and closed after it stopped. Its database is on the node's disk.
func Module() fx.Option {
	return fx.Module("execution", fx.Provide(provide))
}

type deps struct {
	fx.In

	Lifecycle fx.Lifecycle
	Config    Config
	Dir       Dir
	Disk      leveldb.Disk
	Watch     *leveldb.Watch
	Log       *zap.Logger
}

func provide(d deps) (Executor, error) {
	exec, err := New(d.Config, string(d.Dir), d.Log.Named("execution"), leveldb.OnDisk(d.Disk), leveldb.Watched(d.Watch))
	if err != nil {
		return nil, err
	}
	if r, ok := exec.(Lifecycle); ok {
		d.Lifecycle.Append(fx.Hook{OnStart: r.Open, OnStop: func(context.Context) error { return r.Close() }})
	}
	return exec, nil
}
