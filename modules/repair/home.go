package repair

import (
	"context"
	"errors"
	"fmt"
	"os"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/pipeline"
)

// Params names the databases of a home and how its node uses them.
type Params struct {
	Genesis   block.Genesis
	DB        leveldb.Config
	Store     chainstore.Config
	Execution execution.Config
	// ExecutionDir is the directory of the executor.
	ExecutionDir string
	// Pipeline is the node's. With HeadersOnly there is no executor.
	Pipeline pipeline.Config
	// Produces says that the node signs blocks: those that are not final may exist
	// here alone.
	Produces bool
	// Signed returns the highest height that the node's key has signed a block of,
	// as the signer remembers it; 0 when that is not known. It is nil unless Produces.
	Signed func(ctx context.Context) (uint64, error)
	// Forget are the Meta keys of what was concluded from blocks, which is concluded
	// again when they were removed.
	Forget []string
	Log    *zap.Logger
}

// home is what is open of a home.
type home struct {
	Params

	db    *leveldb.DB
	store *chainstore.Store // nil when the database is missing
	exec  execution.Executor
}

// openStore opens the chain's database, if there is one.
func (h *home) openStore(ctx context.Context) error {
	if !exists(h.DB.Path) {
		return nil
	}
	db := leveldb.New(h.DB)
	if err := db.Open(); err != nil {
		return err
	}
	h.db = db
	s := chainstore.New(db, h.Store, h.Log)
	if err := s.Open(ctx); err != nil {
		return err
	}
	if err := s.CheckGenesis(ctx, h.Genesis); err != nil {
		return err
	}
	h.store = s
	return nil
}

// openExecutor opens the executor, of a node that has one.
func (h *home) openExecutor(ctx context.Context) error {
	if h.Pipeline.HeadersOnly {
		return nil
	}
	exec, err := execution.New(h.Execution, h.ExecutionDir, h.Log)
	if err != nil {
		return err
	}
	if l, ok := exec.(execution.Lifecycle); ok {
		if err := l.Open(ctx); err != nil {
			return err
		}
	}
	h.exec = exec
	return nil
}

func (h *home) close() error {
	return errors.Join(h.closeExecutor(), h.closeStore())
}

func (h *home) closeExecutor() error {
	l, ok := h.exec.(execution.Lifecycle)
	h.exec = nil
	if !ok {
		return nil
	}
	return l.Close()
}

func (h *home) closeStore() error {
	db := h.db
	h.db, h.store = nil, nil
	if db == nil {
		return nil
	}
	return db.Close()
}

// pipeline returns the pipeline over what is open.
func (h *home) pipeline() *pipeline.Pipeline {
	with := pipeline.Params{
		Genesis: h.Genesis, Store: h.store, Headers: h.store.Headers(), Data: h.store.Data(),
		Config: h.Pipeline, ExecutorName: h.Execution.Name, Ahead: h.ahead, Log: h.Log,
	}
	if h.exec != nil {
		with.Executor = h.exec
	}
	return pipeline.New(with)
}

// ahead keeps an executor that knows of blocks which the database has lost from
// being rolled back where the signer has to be told of them first.
func (h *home) ahead(_ context.Context, executed uint64) error {
	if !h.Produces {
		return nil
	}
	return fmt.Errorf("only 'tandem start' rolls it back, since the signer has to remember that block %d may have been signed", executed)
}

// heights is what a home has.
type heights struct {
	top      uint64 // highest stored or executed
	applied  uint64
	final    uint64
	executed uint64
}

func (h *home) heights(ctx context.Context) (at heights, err error) {
	st, err := h.store.State(ctx)
	switch {
	case errors.Is(err, header.ErrNotFound):
	case err != nil:
		return at, err
	default:
		at.applied = st.NextHeight() - 1
	}
	at.final = h.store.Final()
	if p, ok := h.exec.(execution.HeightProvider); ok {
		if at.executed, err = p.LatestHeight(ctx); err != nil {
			return at, fmt.Errorf("height of the executor: %w", err)
		}
	}
	at.top = max(at.applied, at.executed, h.store.Headers().Height(), h.store.Data().Height())
	return at, nil
}

// own returns the blocks above a height that may exist here alone: those of a node
// that makes them which are not final.
func (h *home) own(at heights, above uint64) Blocks {
	first := max(above, at.final, h.Genesis.InitialHeight-1) + 1
	if last := max(at.applied, h.store.Headers().Height()); h.Produces && first <= last {
		return Blocks{first, last}
	}
	return Blocks{}
}

// Blocks are the blocks from a height to another; none when First is 0.
type Blocks struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Count returns how many there are.
func (b Blocks) Count() uint64 {
	if b.First == 0 {
		return 0
	}
	return b.Last - b.First + 1
}

// String says how many there are and which.
func (b Blocks) String() string {
	switch b.Count() {
	case 0:
		return "no blocks"
	case 1:
		return fmt.Sprintf("1 block (%d)", b.First)
	}
	return fmt.Sprintf("%d blocks (%d to %d)", b.Count(), b.First, b.Last)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
