package telemetry_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/telemetry"
)

// TestSlowStepsOfTheStartAreNamed: constructors and hooks, the slowest first, five at most.
func TestSlowStepsOfTheStartAreNamed(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	l := telemetry.FxLogger(zap.New(core))
	l.LogEvent(&fxevent.Run{Name: "quick()", Runtime: 49 * time.Millisecond})
	l.LogEvent(&fxevent.Run{Name: "github.com/tandem-node/tandem/modules/p2p.New()", Runtime: 70 * time.Millisecond})
	l.LogEvent(&fxevent.OnStartExecuted{FunctionName: "open()", CallerName: "provide", Runtime: 2 * time.Second})
	for i := range 4 {
		l.LogEvent(&fxevent.Run{Name: fmt.Sprintf("more%d()", i), Runtime: 60 * time.Millisecond})
	}
	require.Zero(t, logs.Len())
	l.LogEvent(&fxevent.Started{})
	require.Equal(t, 1, logs.Len())
	require.Equal(t, []any{"open() of provide 2s", "modules/p2p.New() 70ms", "more0() 60ms", "more1() 60ms", "more2() 60ms"},
		logs.All()[0].ContextMap()["steps"])
}

func TestAQuickStartOrAFailedOneIsNotCommented(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	l := telemetry.FxLogger(zap.New(core))
	l.LogEvent(&fxevent.Run{Name: "quick()", Runtime: time.Millisecond})
	l.LogEvent(&fxevent.Started{})
	l.LogEvent(&fxevent.Run{Name: "slow()", Runtime: time.Minute})
	l.LogEvent(&fxevent.Started{Err: errors.New("no")})
	require.Zero(t, logs.Len())
}
