package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
)

const (
	// slowStep is what a constructor or hook takes that is worth a word at start-up.
	slowStep = 50 * time.Millisecond
	// slowSteps is how many are named, the slowest first.
	slowSteps = 5
)

// FxLogger reports the dependency graph's own events at debug, and once the node
// has started, at info, the constructors and hooks that took long.
func FxLogger(log *zap.Logger) fxevent.Logger {
	log = log.Named("fx")
	l := &fxevent.ZapLogger{Logger: log}
	l.UseLogLevel(zap.DebugLevel)
	l.UseErrorLevel(zap.DebugLevel) // the root cause is reported once, by the command
	return &fxLogger{all: l, log: log}
}

type fxLogger struct {
	all fxevent.Logger
	log *zap.Logger

	mu    sync.Mutex
	steps []step
}

// step is a constructor or hook that took long.
type step struct {
	name string
	took time.Duration
}

// LogEvent implements fxevent.Logger.
func (l *fxLogger) LogEvent(event fxevent.Event) {
	l.all.LogEvent(event)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := event.(type) {
	case *fxevent.Run:
		l.took(e.Name, e.Runtime)
	case *fxevent.OnStartExecuted:
		name := e.FunctionName
		if e.CallerName != "" {
			name += " of " + e.CallerName
		}
		l.took(name, e.Runtime)
	case *fxevent.Started:
		if e.Err == nil {
			l.report()
		}
		l.steps = nil
	}
}

func (l *fxLogger) took(name string, d time.Duration) {
	if d >= slowStep {
		l.steps = append(l.steps, step{strings.ReplaceAll(name, scope+"/", ""), d})
	}
}

func (l *fxLogger) report() {
	if len(l.steps) == 0 {
		return
	}
	slices.SortStableFunc(l.steps, func(a, b step) int { return int(b.took - a.took) })
	var named []string
	for _, s := range l.steps[:min(slowSteps, len(l.steps))] {
		named = append(named, s.name+" "+s.took.Round(time.Millisecond).String())
	}
	l.log.Info("slowest steps of the start", zap.Strings("steps", named))
}
