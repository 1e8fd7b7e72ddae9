package notifier_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/notifier/notifiertest"
)

func TestModuleReportsSlowSubscribersAtDebug(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	var n *notifier.Notifier
	app := fxtest.New(t, fx.NopLogger, fx.Supply(zap.New(core)), notifier.Module(), fx.Populate(&n))
	app.RequireStart().RequireStop()
	sub := n.Subscribe(notifier.Name("sleepy"), notifier.Buffer(1))
	n.Publish(header(1))
	n.Publish(header(2))
	require.Equal(t, uint64(1), sub.Dropped())
	notifiertest.Expect(t, sub, notifier.Header, 2)
	require.Len(t, logs.All(), 1)
	require.Equal(t, zap.DebugLevel, logs.All()[0].Level)
	require.Equal(t, "sleepy", logs.All()[0].ContextMap()["subscriber"])
}
