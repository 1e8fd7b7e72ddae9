package execution

import (
	"context"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

type EvolveKV struct {
	frontend
	cfg Config
	db  *database
	mu  sync.RWMutex
}

func NewEvolveKV(cfg Config, dir string, log *zap.Logger) *EvolveKV {
	return &EvolveKV{frontend: newFrontend(cfg, log), cfg: cfg, db: newDatabase(dir)}
}
func (k *EvolveKV) InitChain(context.Context, block.Genesis) ([]byte, error) {
	return nil, ErrNotInitialized
}
func (k *EvolveKV) ExecuteTxs(context.Context, block.Execution) (block.ExecResult, error) {
	return block.ExecResult{}, ErrNotInitialized
}
func (k *EvolveKV) SetFinal(context.Context, uint64) error { return nil }
func (k *EvolveKV) Handler() http.Handler                  { return newHandler(&k.frontend, nothing{}, 0) }
