package execution

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/leveldb"
)

// Names of the executors that ship with the node.
const (
	NameKV       = "kv"
	NameEvolveKV = "evolve-kv"
	NameNoop     = "noop"
)

// New returns the executor cfg names. State goes to the directory dir once the
// executor is opened; see [Lifecycle]. The options are for its database.
func New(cfg Config, dir string, log *zap.Logger, opts ...leveldb.Option) (Executor, error) {
	build, ok := builtins()[cfg.Name]
	if !ok {
		return nil, fmt.Errorf("unknown executor %q, want one of %s", cfg.Name, strings.Join(Names(), ", "))
	}
	return build(cfg, dir, log, opts), nil
}

// Names returns the executors New knows, sorted.
func Names() []string { return slices.Sorted(maps.Keys(builtins())) }

type builder func(cfg Config, dir string, log *zap.Logger, opts []leveldb.Option) Executor

func builtins() map[string]builder {
	return map[string]builder{
		NameKV: func(c Config, dir string, log *zap.Logger, opts []leveldb.Option) Executor {
			return NewKV(c, dir, log, opts...)
		},
		NameEvolveKV: func(c Config, dir string, log *zap.Logger, opts []leveldb.Option) Executor {
			return NewEvolveKV(c, dir, log, opts...)
		},
		NameNoop: func(c Config, _ string, log *zap.Logger, _ []leveldb.Option) Executor { return NewNoop(c, log) },
	}
}
