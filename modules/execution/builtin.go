package execution

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// Names of the executors that ship with the node.
const (
	NameKV       = "kv"
	NameEvolveKV = "evolve-kv"
	NameNoop     = "noop"
)

// New returns the executor cfg names. State goes to the directory dir once the
// executor is opened; see [Lifecycle].
func New(cfg Config, dir string, log *zap.Logger) (Executor, error) {
	build, ok := builtins()[cfg.Name]
	if !ok {
		return nil, fmt.Errorf("unknown executor %q, want one of %s", cfg.Name, strings.Join(Names(), ", "))
	}
	return build(cfg, dir, log), nil
}

// Names returns the executors New knows, sorted.
func Names() []string { return slices.Sorted(maps.Keys(builtins())) }

func builtins() map[string]func(Config, string, *zap.Logger) Executor {
	return map[string]func(Config, string, *zap.Logger) Executor{
		NameKV:       func(c Config, dir string, log *zap.Logger) Executor { return NewKV(c, dir, log) },
		NameEvolveKV: func(c Config, dir string, log *zap.Logger) Executor { return NewEvolveKV(c, dir, log) },
		NameNoop:     func(c Config, _ string, log *zap.Logger) Executor { return NewNoop(c, log) },
	}
}
