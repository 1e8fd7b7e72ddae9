package execution

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// Noop runs nothing: it has a mempool and a root that never changes. It shows
// what a node costs without an application.
type Noop struct {
	frontend
	root block.Hash
}

// NewNoop returns an executor without state.
func NewNoop(cfg Config, log *zap.Logger) *Noop {
	return &Noop{frontend: newFrontend(cfg, log), root: block.Sum([]byte(NameNoop))}
}

// FilterTxs takes everything but nothing.
func (n *Noop) FilterTxs(_ context.Context, txs [][]byte, _ bool) ([]TxVerdict, error) {
	out := make([]TxVerdict, len(txs))
	for i, tx := range txs {
		if len(tx) == 0 {
			out[i] = TxRemove
		}
	}
	return out, nil
}

// InitChain returns the constant root.
func (n *Noop) InitChain(context.Context, block.Genesis) ([]byte, error) { return n.root[:], nil }

// ExecuteTxs counts the block and returns the constant root.
func (n *Noop) ExecuteTxs(_ context.Context, e block.Execution) (block.ExecResult, error) {
	n.executedBlock(len(e.Txs))
	return block.ExecResult{StateRoot: n.root[:]}, nil
}

// SetFinal does nothing.
func (n *Noop) SetFinal(context.Context, uint64) error { return nil }

// Info returns the name and the root.
func (n *Noop) Info(context.Context) (Info, error) {
	return Info{Name: NameNoop, Version: stateVersion, Root: n.root[:]}, nil
}

// Handler serves /tx and /stats; /kv and /store find nothing.
func (n *Noop) Handler() http.Handler { return newHandler(&n.frontend, n, nothing{}, 0) }

// nothing is a state without keys.
type nothing struct{}

func (nothing) lookup([]byte) ([]byte, bool, error)                            { return nil, false, nil }
func (nothing) list(context.Context, listRange, func(k, v []byte) error) error { return nil }
