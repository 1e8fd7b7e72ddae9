package daworker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestModuleStartsAndStops(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
	e := newEnv()
	e.da.put(3)
	var w *Worker
	app := fxtest.New(t, Module(), fx.Supply(e.params, zap.NewNop()), fx.Populate(&w))
	app.RequireStart()
	app.RequireStop()
	require.NotNil(t, w)
}
