package da

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"
)

func TestModule(t *testing.T) {
	var client Client
	app := fxtest.New(t, fx.NopLogger, fx.Supply(Params{Config: Default(), Log: zap.NewNop()}), Module(), fx.Populate(&client))
	app.RequireStart().RequireStop()
	require.Equal(t, None{}, client)

	var server *Server
	cfg := testServerConfig()
	devnet := fxtest.New(t, fx.NopLogger, fx.Supply(cfg, zap.NewNop()), ServerModule(), fx.Populate(&server))
	devnet.RequireStart()
	app = fxtest.New(t, fx.NopLogger, fx.Supply(Params{Config: testConfig(server.URL()), Log: zap.NewNop()}), Module(), fx.Populate(&client))
	app.RequireStart()
	height, err := client.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
	require.NoError(t, err)
	require.Positive(t, height)
	app.RequireStop()
	devnet.RequireStop()

	bad := fx.New(fx.NopLogger, fx.Supply(Params{Config: testConfig("ftp://x"), Log: zap.NewNop()}), Module(), fx.Populate(&client))
	require.ErrorContains(t, bad.Err(), "da.address")
}
