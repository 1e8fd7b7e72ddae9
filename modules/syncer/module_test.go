package syncer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/syncer"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
	"github.com/tandem-node/tandem/telemetry/stages"
)

func TestModulesRunFromStartToStop(t *testing.T) {
	for name, module := range map[string]fx.Option{"blocks": syncer.Module(), "headers": syncer.HeadersModule()} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.sink.applied = make(chan uint64, 10)
			r.fill(2)
			app := fx.New(fx.NopLogger, notifier.Module(), module, fx.Supply(zap.NewNop(), syncer.Default(), block.Clock(time.Now)), fx.Provide(
				func() syncer.Source[*block.SignedHeader] { return r.headers },
				func() syncer.Source[*block.Data] { return r.data },
				func() syncer.Sink { return r.sink },
				func() *blocktrace.Tracer { return nil },
				func() *stages.Recorder { return nil },
				func() *problems.Board { return nil },
				func() syncer.Hold { return nil },
			))
			require.NoError(t, app.Err())
			require.Empty(t, r.sink.seen(), "constructing starts nothing")
			require.NoError(t, app.Start(t.Context()))
			select {
			case at := <-r.sink.applied:
				require.Equal(t, uint64(2), at)
			case <-time.After(time.Minute):
				t.Fatal("nothing applied")
			}
			require.NoError(t, app.Stop(t.Context()))
		})
	}
}
