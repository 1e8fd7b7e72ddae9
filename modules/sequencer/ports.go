package sequencer

import (
	"context"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// Signer holds the key of the proposer and remembers what it signed, wherever it
// runs: in this process, in another one, or shared by several nodes.
type Signer interface {
	// Sign returns the ed25519 signature of m. Before the signature of a header is
	// given out, the header is remembered in a way that outlives the machine. Other
	// bytes at a height that was signed are refused, and heights below the newest;
	// the same bytes again are not. A refusal is Permanent.
	Sign(ctx context.Context, m block.Message) ([]byte, error)
	// Signed returns what is remembered.
	Signed(ctx context.Context) (block.Memory, error)
	// Raise tells of the newest header of the chain. It never lowers what is
	// remembered, and makes that certain: others were asked.
	Raise(ctx context.Context, m block.Mark) error
	// Public returns the 32 raw bytes of the public key.
	Public() []byte
}

// Chain is the applied chain. When it also has Ahead() uint64, the highest
// height known anywhere, production waits until that height is applied; when it
// has Busy() string, production begins once that is empty.
type Chain interface {
	// State returns the state after the last applied block.
	State() block.State
	// Changed returns a channel that is closed at the next change of State.
	Changed() <-chan struct{}
	// Apply verifies, executes and commits blocks. A block made here is on disk,
	// with its state and without the pending mark, when Apply returns.
	Apply(ctx context.Context, blocks []block.Block, src block.Source) error
}

// Store keeps what the sequencer must remember, and has what the DA worker has read.
type Store interface {
	// SavePending keeps the one block that is being made and changes the queue,
	// both or neither.
	SavePending(ctx context.Context, b block.Block, queue block.QueueChange, sync bool) error
	// Pending returns the block kept by SavePending, if it was not applied since.
	Pending(ctx context.Context) (block.Block, bool, error)
	// SaveQueue changes the queue of transactions that wait for a block.
	SaveQueue(ctx context.Context, queue block.QueueChange) error
	// Sync returns once all that was saved before is on the disk.
	Sync(ctx context.Context) error
	// Queue returns the queue and the position of its first transaction.
	Queue(ctx context.Context) (first uint64, txs [][]byte, err error)
	// Submitted returns what SaveSubmitted kept, 0 before.
	Submitted() (header, data uint64)
	// SaveSubmitted keeps the last heights that were read back from DA.
	SaveSubmitted(ctx context.Context, header, data uint64) error
	// Inclusion returns where the DA worker has read the block of a height on DA. It
	// is an error when it has read no half of it.
	Inclusion(ctx context.Context, height uint64) (block.Included, error)
	// DA returns how far the DA worker has read.
	DA() block.DAPositions
	// Final returns the final head. Where blocks up to it lie is not recorded any more.
	Final() uint64
	// Meta returns the value kept under key.
	Meta(key string) ([]byte, bool, error)
	// PutMeta keeps a value under key.
	PutMeta(key string, value []byte) error
}

// Reader reads one kind of stored item.
type Reader[H any] interface {
	// Height returns the highest contiguous height.
	Height() uint64
	// GetRange returns items of [from, to), possibly fewer, from the front.
	GetRange(ctx context.Context, from, to uint64) ([]H, error)
}

// Executor is the mempool side of the application.
type Executor interface {
	// GetTxs returns waiting transactions of at most maxBytes in total.
	GetTxs(ctx context.Context, maxBytes int) ([][]byte, error)
}

// TxNotifier is an Executor that can say when transactions arrive, which saves
// an idle lazy chain from polling.
type TxNotifier interface {
	// TxsAvailable returns a channel that delivers, or is closed, once
	// transactions are waiting. It is asked for anew before each wait.
	TxsAvailable() <-chan struct{}
}

// TxLimiter is an Executor that can refuse transactions which fit no block.
type TxLimiter interface {
	// LimitTxs makes it refuse transactions of more bytes than most returns; 0 is no
	// limit.
	LimitTxs(most func() int)
}

// Forced gives what was forced through DA: see modules/forced.
type Forced interface {
	// Take returns what the block after st has to begin with, at most so many bytes
	// or one transaction, and the time the block should have. They are given again
	// until they are in an applied block.
	Take(ctx context.Context, st block.State, most int) (txs [][]byte, at time.Time, err error)
	// Only reports whether blocks may hold nothing else for now.
	Only() bool
	// Pending reports whether a block is called for.
	Pending() bool
}

// NoForced is a Forced that has nothing.
type NoForced struct{}

// Take implements Forced.
func (NoForced) Take(context.Context, block.State, int) ([][]byte, time.Time, error) {
	return nil, time.Time{}, nil
}

// Only implements Forced.
func (NoForced) Only() bool { return false }

// Pending implements Forced.
func (NoForced) Pending() bool { return false }

// Broadcaster gossips a block that was made here, header first, then data.
type Broadcaster interface {
	// Prepare makes the messages of a block that is not committed yet and returns
	// what sends them. Nothing leaves before that is called.
	Prepare(ctx context.Context, b block.Block) (send func() error, err error)
}

// Elsewhere is where blocks of the chain may lie that are not in the store.
type Elsewhere interface {
	// Answers returns what was found there since the start.
	Answers() Answers
}

// Posted says how far the chain is known to lie on DA. *Submitter implements it.
type Posted interface {
	// Submitted returns the last heights that were read back from DA.
	Submitted() (header, data uint64)
	// Progress returns a channel that is closed at the next change of Submitted.
	Progress() <-chan struct{}
}

// Namespaces are where headers and data are posted; they may be equal.
type Namespaces struct {
	Header da.Namespace
	Data   da.Namespace
}
