package testutil

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// maxLogBytes bounds what is kept of the log of one test; the oldest gives way.
const maxLogBytes = 4 << 20

// LogOption changes a log detector.
type LogOption func(*Logs)

// AllowLog lets messages be logged at any level. The message must match as a
// whole; the text of errors is in fields and does not matter.
func AllowLog(messages ...string) LogOption {
	return func(l *Logs) { l.allowed = append(l.allowed, messages...) }
}

// Log returns a logger that is silent while the test passes, is shown when the
// test fails, and fails it when anything is logged at WARN or above that is not
// allowed. It works inside and outside of synctest bubbles.
func Log(tb testing.TB, opts ...LogOption) *zap.Logger {
	tb.Helper()
	return NewLogs(tb, opts...).Logger()
}

// Logs detects what should not be logged; see Log.
type Logs struct {
	t testing.TB

	mu         sync.Mutex
	allowed    []string
	unexpected []string
	seen       map[string]int
	text       bytes.Buffer
	encoder    zapcore.Encoder
}

// NewLogs returns a detector for tests that learn on the way what to allow.
func NewLogs(tb testing.TB, opts ...LogOption) *Logs {
	tb.Helper()
	enc := zap.NewDevelopmentEncoderConfig()
	enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	enc.EncodeCaller, enc.CallerKey, enc.ConsoleSeparator = nil, "", "  "
	l := &Logs{t: tb, seen: map[string]int{}, encoder: zapcore.NewConsoleEncoder(enc)}
	for _, o := range opts {
		o(l)
	}
	tb.Cleanup(l.report)
	return l
}

// Logger returns the logger. All loggers of one Logs share a log.
func (l *Logs) Logger() *zap.Logger { return zap.New(&logCore{logs: l}) }

// Allow lets messages be logged at any level from now on.
func (l *Logs) Allow(messages ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed = append(l.allowed, messages...)
}

// Count returns how often a message was logged at WARN or above.
func (l *Logs) Count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[message]
}

func (l *Logs) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.unexpected {
		l.t.Errorf("unexpected log: %s", line)
	}
	if l.t.Failed() && l.text.Len() > 0 {
		l.t.Logf("log:\n%s", l.text.String())
	}
}

// write keeps one line. After the test it does nothing that the test could not
// take any more.
func (l *Logs) write(e zapcore.Entry, context, fields []zapcore.Field) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append(slices.Clone(context), fields...)
	line, err := l.encoder.EncodeEntry(e, all)
	if err != nil {
		return err
	}
	defer line.Free()
	if e.Level >= zapcore.WarnLevel {
		l.seen[e.Message]++
		if !slices.Contains(l.allowed, e.Message) {
			l.unexpected = append(l.unexpected, line.String())
		}
	}
	if over := l.text.Len() + line.Len() - maxLogBytes; over > 0 {
		l.text.Next(over)
	}
	_, err = l.text.Write(line.Bytes())
	return err
}

// logCore is a zapcore.Core that hands everything to a Logs.
type logCore struct {
	logs    *Logs
	context []zapcore.Field
}

// Enabled implements zapcore.LevelEnabler.
func (c *logCore) Enabled(zapcore.Level) bool { return true }

// graphLogger is what fx's own events are logged under; their hundreds of lines
// at the start of every node would hide the rest.
const graphLogger = "fx"

// With implements zapcore.Core.
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{logs: c.logs, context: append(slices.Clone(c.context), fields...)}
}

// Check implements zapcore.Core.
func (c *logCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level == zapcore.DebugLevel && (e.LoggerName == graphLogger || strings.HasSuffix(e.LoggerName, "."+graphLogger)) {
		return ce
	}
	return ce.AddCore(e, c)
}

// Write implements zapcore.Core.
func (c *logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return c.logs.write(e, c.context, fields)
}

// Sync implements zapcore.Core.
func (c *logCore) Sync() error { return nil }
