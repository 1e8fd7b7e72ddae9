package execution

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tandem-node/tandem/modules/block"
)

// Executor runs the transactions of a chain. The package comment has the rules
// an implementation keeps.
type Executor interface {
	// InitChain prepares the state before the first block and returns its root. It
	// is called at every start, also when blocks were executed already, and returns
	// the same root each time.
	InitChain(ctx context.Context, genesis block.Genesis) (root []byte, err error)

	// GetTxs removes transactions from the mempool and returns them in the order
	// they came, at most maxBytes in sum; nil when there are none or maxBytes is
	// not positive. maxBytes is what a whole block may hold: a transaction larger
	// than that can never be included and is dropped. It may be called while
	// ExecuteTxs runs.
	GetTxs(ctx context.Context, maxBytes int) ([][]byte, error)

	// ExecuteTxs runs one block and returns the root after it. The first height is
	// the genesis' initial height. The transactions are read only and may be kept
	// only as copies; the returned root must not change afterwards. An error stops
	// the block, not the chain: the node calls again, or stops when the error says
	// that it is permanent (a method Permanent() bool). One that wraps
	// block.ErrRefusedData says that the transactions break the rules of the chain and
	// always will: the block becomes evidence against its proposer, the node keeps it
	// out and goes on serving. A panic of one block ends the node once.
	ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error)

	// SetFinal says that the block at height can no longer be rolled back. It is
	// called once per height, in ascending order, also across restarts, where the
	// executor is a FinalProvider. One that is not is told at least once: after a
	// crash or an error the last heights may come again, from a lower one on, and
	// have to change nothing.
	SetFinal(ctx context.Context, height uint64) error
}

// HeightProvider is implemented by executors that know how far they got. The
// node replays the blocks such an executor lacks, and rolls back what it has too
// much of. One that does not is taken to be where the node is.
type HeightProvider interface {
	// LatestHeight returns the height of the last executed block, 0 before the first.
	LatestHeight(ctx context.Context) (uint64, error)
}

// FinalProvider is implemented by executors that remember what was final. The node
// does not tell them of a height twice, even when it died while it told them.
type FinalProvider interface {
	// FinalHeight returns the last height given to SetFinal, 0 before the first, as
	// far as it would be remembered after a crash or was given since the start.
	FinalHeight(ctx context.Context) (uint64, error)
}

// Rollbacker is implemented by executors that can undo blocks.
type Rollbacker interface {
	// Rollback restores the state after the block at height; the block before the
	// initial height is the genesis state. A height that was not executed yet
	// changes nothing; one that is too old is an error.
	Rollback(ctx context.Context, height uint64) error
}

// RootProvider is implemented by executors that know their state root. The node
// compares it at start with the one it has.
type RootProvider interface {
	// StateRoot returns the root after the last executed block.
	StateRoot(ctx context.Context) ([]byte, error)
}

// Keeper is implemented by executors that drop old states.
type Keeper interface {
	// KeepFrom says that the state after the block at height may still be asked for
	// by Rollback, as those of later blocks. It is called after every few blocks and
	// returns at once. Before the first call there is no such state.
	KeepFrom(height uint64)
}

// Resetter is implemented by executors that can start over.
type Resetter interface {
	// Reset removes all state, on the disk when it returns. InitChain follows, and
	// then all blocks again.
	Reset(ctx context.Context) error
}

// InfoProvider is implemented by executors that describe themselves.
type InfoProvider interface {
	Info(ctx context.Context) (Info, error)
}

// Info describes an executor.
type Info struct {
	Name    string
	Version string
	Height  uint64 // last executed block, 0 before the first
	Final   uint64 // last height given to SetFinal, as far as it is remembered
	Root    []byte // state root at Height
	MaxGas  uint64 // gas limit of a block, 0 for none
}

// Submitter is implemented by executors with a mempool.
type Submitter interface {
	// Submit queues a transaction for a later block. The bytes are copied. It never
	// blocks: what does not fit is refused with one of the Err values below.
	Submit(ctx context.Context, tx []byte) error
}

// TxLimiter is implemented by executors that can refuse transactions which fit no
// block now, although they may later.
type TxLimiter interface {
	// LimitTxs makes Submit refuse transactions of more bytes than most returns; 0 is
	// no limit. most is called for every transaction.
	LimitTxs(most func() int)
}

// TxNotifier is implemented by executors that say when transactions wait.
type TxNotifier interface {
	// TxsAvailable returns a channel that holds a value while transactions may be
	// waiting. It is a hint: a receiver calls GetTxs and may get none.
	TxsAvailable() <-chan struct{}
}

// TxFilter is implemented by executors that can tell what is no transaction of
// theirs. Transactions forced through DA that they remove are nobody's duty, so
// every node has to come to the same answer: by the bytes alone.
type TxFilter interface {
	// FilterTxs returns what to do with each of txs (evolve-wire §4.1).
	FilterTxs(ctx context.Context, txs [][]byte, forced bool) ([]TxVerdict, error)
}

// TxVerdict is what a filter makes of a transaction.
type TxVerdict uint8

// The verdicts, as the Evolve interface numbers them.
const (
	TxOK     TxVerdict = iota // may go into a block
	TxRemove                  // is none and never will be
)

// HTTPProvider is implemented by executors with endpoints of their own.
type HTTPProvider interface {
	// Handler serves paths relative to its root. It is usable until Close.
	Handler() http.Handler
}

// Lifecycle is implemented by executors that hold resources. Constructors do
// not open anything; nothing else is called before Open and after Close.
type Lifecycle interface {
	Open(ctx context.Context) error
	Close() error
}

// Reasons for refusing a call; wrapped errors add the numbers.
var (
	// ErrEmptyTx refuses a transaction without bytes.
	ErrEmptyTx = errors.New("transaction is empty")
	// ErrTxTooLarge refuses a transaction above the configured size.
	ErrTxTooLarge = errors.New("transaction is too large")
	// ErrMempoolFull refuses a transaction that exceeds the mempool's bounds.
	ErrMempoolFull = errors.New("mempool is full")
	// ErrDuplicateTx refuses a transaction that is queued already.
	ErrDuplicateTx = errors.New("transaction is queued already")
	// ErrNoWrite refuses a transaction that would have no effect in a block.
	ErrNoWrite = errors.New("transaction would have no effect")
	// ErrNotOpen says that the state was not loaded, or is closed.
	ErrNotOpen = errors.New("executor is not open")
	// ErrNotInitialized says that InitChain was not called on this state.
	ErrNotInitialized = errors.New("executor was not initialized, call InitChain first")
)

// HeightError says that a block does not follow the executed ones.
type HeightError struct {
	Height uint64 // of the refused block
	Want   uint64 // the height that comes next
}

// Error names both heights.
func (e *HeightError) Error() string {
	return fmt.Sprintf("execute height %d: want height %d next", e.Height, e.Want)
}

// Permanent reports that trying again is useless.
func (e *HeightError) Permanent() bool { return true }

// RootError says that a block builds on another state than the executor's.
type RootError struct {
	Height uint64 // of the refused block
	Have   []byte // the executor's root
	Want   []byte // the root the block builds on
}

// Error shows the beginning of both roots.
func (e *RootError) Error() string {
	const shown = 16
	return fmt.Sprintf("execute height %d: it builds on state root %X (%d bytes), the executor has %X (%d bytes)",
		e.Height, e.Want[:min(shown, len(e.Want))], len(e.Want), e.Have[:min(shown, len(e.Have))], len(e.Have))
}

// Permanent reports that trying again is useless.
func (e *RootError) Permanent() bool { return true }

// RollbackError says that a height is older than what can be restored.
type RollbackError struct {
	Height uint64 // asked for
	Oldest uint64 // lowest height that can be restored
}

// Error names both heights.
func (e *RollbackError) Error() string {
	return fmt.Sprintf("roll back to height %d: the oldest kept is %d", e.Height, e.Oldest)
}

// Permanent reports that trying again is useless.
func (e *RollbackError) Permanent() bool { return true }

// GenesisError says that the state on disk belongs to another chain.
type GenesisError struct {
	Have block.Hash // hash of the genesis on disk
	Want block.Hash // hash of the genesis given
}

// Error names both genesis hashes.
func (e *GenesisError) Error() string {
	return fmt.Sprintf("execution state belongs to the chain with genesis %s, this node's genesis is %s; 'tandem repair' removes it", e.Have.Short(), e.Want.Short())
}

// Permanent reports that trying again is useless.
func (e *GenesisError) Permanent() bool { return true }
