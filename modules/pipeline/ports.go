package pipeline

import (
	"context"
	"errors"

	"github.com/tandem-node/tandem/modules/block"
)

// Store is what the pipeline needs of the chain's database. Absent items are
// header.ErrNotFound. It must not keep the slices of a batch after Commit. One that
// a power cut can take commits from also has
//
//	Flushed() uint64 // height of a state that it cannot take, nor any below
type Store interface {
	// State returns the newest state; not found before SaveGenesis.
	State(ctx context.Context) (block.State, error)
	// StateAt returns the state after a height.
	StateAt(ctx context.Context, height uint64) (block.State, error)
	// SaveGenesis stores the state before the first block, and what chain this is.
	// Again with the same genesis it replaces that state as long as no block was
	// applied, and then changes nothing; with another genesis it is an error.
	SaveGenesis(ctx context.Context, g block.Genesis, st block.State) error
	// ReviseState replaces the newest state by another one after the same block.
	ReviseState(ctx context.Context, st block.State) error
	// Commit applies a batch as a whole or not at all.
	Commit(ctx context.Context, b block.Batch) error
	// Inclusion says where the halves of a block were seen on DA.
	Inclusion(ctx context.Context, height uint64) (block.Included, error)
	// Final returns the highest final height, 0 when there is none.
	Final() uint64
	// DA returns how far DA was read, zero when nothing was.
	DA() block.DAPositions
	// Included returns the highest height of which any half was seen on DA.
	Included() uint64
	// SaveEvidence keeps a proof on the disk and reports whether it is new.
	SaveEvidence(ctx context.Context, e block.Evidence) (bool, error)
	// DropEvidence forgets a proof that turned out to be none.
	DropEvidence(ctx context.Context, e block.Evidence) error
	// Evidence returns what was kept and can be read.
	Evidence(ctx context.Context) ([]block.Evidence, error)
	// SaveRevert keeps a rollback that was decided and sets both positions on DA to
	// r.DACursor, on the disk and as one. Commit with DropRevert forgets it.
	SaveRevert(ctx context.Context, r block.Revert) error
	// Revert returns the rollback under way, if any.
	Revert(ctx context.Context) (block.Revert, bool, error)
	// Truncate removes everything above a height but evidence, the positions on DA and
	// the revert, and may be repeated after a crash.
	Truncate(ctx context.Context, to uint64) error
}

// Headers reads stored headers. It is asked for heights up to Height only.
type Headers interface {
	// Height returns the highest contiguous height.
	Height() uint64
	GetByHeight(ctx context.Context, height uint64) (*block.SignedHeader, error)
}

// Data reads stored data, that of applied heights mostly.
type Data interface {
	// Height returns the highest contiguous height.
	Height() uint64
	GetByHeight(ctx context.Context, height uint64) (*block.Data, error)
}

// Executor turns blocks into state. Calls are never concurrent. The slices of a
// result are kept; those of an Execution must not be changed.
//
// An executor that knows how far it is also has
//
//	LatestHeight(ctx context.Context) (uint64, error) // 0: nothing executed
//
// and is brought level at start; one that remembers what was final also has
//
//	FinalHeight(ctx context.Context) (uint64, error) // 0: nothing was final
//
// and is told of no height twice, crashes included; one that can undo blocks also has
//
//	Rollback(ctx context.Context, height uint64) error // height becomes the newest
//
// one that drops states that it could go back to also has
//
//	KeepFrom(height uint64) // it may have to go back to this one, or any later one
//
// one that knows its state root also has
//
//	StateRoot(ctx context.Context) ([]byte, error) // after LatestHeight
//
// which is compared at start, and one that can start over also has
//
//	Reset(ctx context.Context) error // as if it had never been used
//
// and is given all blocks again when it cannot go back, or has another root.
type Executor interface {
	// InitChain returns the root before the first block. It is called at every
	// start, first of all, and returns the same root each time.
	InitChain(ctx context.Context, g block.Genesis) ([]byte, error)
	// ExecuteTxs executes one block. It is called again for a block when the
	// node died, or the call failed, before the block was committed.
	ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error)
	// SetFinal announces a final height, each one in order: at least once, and not
	// again to one that remembers what was final.
	SetFinal(ctx context.Context, height uint64) error
}

type heightProvider interface {
	LatestHeight(ctx context.Context) (uint64, error)
}

type finalProvider interface {
	FinalHeight(ctx context.Context) (uint64, error)
}

type rollbacker interface {
	Rollback(ctx context.Context, height uint64) error
}

// Events hears of every change after it was committed, in order. It is called
// with the pipeline locked: it must return soon and not call back into writers.
type Events interface {
	// Applied hands over blocks that share one commit. The slice is the caller's.
	Applied(blocks []block.Block, src block.Source)
	Final(height uint64, hash block.Hash)
	// Conflict tells of a second header of a height. It may be called without
	// the lock, and while what follows from it is not decided.
	Conflict(height uint64, hash block.Hash)
	// Reverted tells that everything from a height on was removed: it gave way to
	// the chain on DA, whose header of that height is stored already, or, with h
	// nil, it was of a proposer that was replaced.
	Reverted(height uint64, h *block.SignedHeader)
}

type keeper interface {
	KeepFrom(height uint64)
}

type rootProvider interface {
	StateRoot(ctx context.Context) ([]byte, error)
}

type resetter interface {
	Reset(ctx context.Context) error
}

// NoEvents is an Events that hears nothing.
type NoEvents struct{}

// Applied implements Events.
func (NoEvents) Applied([]block.Block, block.Source) {}

// Final implements Events.
func (NoEvents) Final(uint64, block.Hash) {}

// Conflict implements Events.
func (NoEvents) Conflict(uint64, block.Hash) {}

// Reverted implements Events.
func (NoEvents) Reverted(uint64, *block.SignedHeader) {}

// NoExecutor stands where nothing is executed: Config.HeadersOnly.
type NoExecutor struct{}

// InitChain implements Executor.
func (NoExecutor) InitChain(context.Context, block.Genesis) ([]byte, error) {
	return nil, errNoExecutor
}

// ExecuteTxs implements Executor.
func (NoExecutor) ExecuteTxs(context.Context, block.Execution) (block.ExecResult, error) {
	return block.ExecResult{}, errNoExecutor
}

// SetFinal implements Executor.
func (NoExecutor) SetFinal(context.Context, uint64) error { return errNoExecutor }

var errNoExecutor = errors.New("this node executes nothing")
