package pipeline_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// goleveldb's pool drainer lives for half a minute after its database.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

func TestModuleOpensAtStart(t *testing.T) {
	w := newWorld(t, 2)
	var p *pipeline.Pipeline
	app := fxtest.New(t, pipeline.Module(),
		fx.Supply(w.chain.Genesis, w.cfg, zap.NewNop(), block.Clock(time.Now),
			fx.Annotate(w.store, fx.As(new(pipeline.Store))),
			fx.Annotate(headersOf{w.store}, fx.As(new(pipeline.Headers))),
			fx.Annotate(dataOf{w.store}, fx.As(new(pipeline.Data))),
			fx.Annotate(w.exec.as(), fx.As(new(pipeline.Executor))),
			pipeline.Ahead(func(context.Context, uint64) error { return nil }),
			fx.Annotate(pipeline.NoEvents{}, fx.As(new(pipeline.Events))),
			(*blocktrace.Tracer)(nil), (*problems.Board)(nil), pipeline.ExecutorName("test"),
		),
		fx.Populate(&p))
	require.Empty(t, w.store.states, "the constructor starts nothing")
	app.RequireStart()
	require.Len(t, w.store.states, 1)
	require.Equal(t, uint64(1), p.Next())
	app.RequireStop()
}
