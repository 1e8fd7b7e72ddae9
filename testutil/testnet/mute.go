package testnet

import (
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// mutable returns a logger that says nothing once dead is set: a process that was
// killed does not complain.
func mutable(log *zap.Logger, dead *atomic.Bool) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return &muteCore{Core: c, dead: dead} }))
}

type muteCore struct {
	zapcore.Core
	dead *atomic.Bool
}

// With implements zapcore.Core.
func (c *muteCore) With(fields []zapcore.Field) zapcore.Core {
	return &muteCore{Core: c.Core.With(fields), dead: c.dead}
}

// Check implements zapcore.Core.
func (c *muteCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.dead.Load() {
		return ce
	}
	return c.Core.Check(e, ce)
}
