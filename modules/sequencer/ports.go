package sequencer

import (
	"context"
	"time"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
)

// Signer holds the key of the proposer.
type Signer interface {
	// Sign returns the ed25519 signature of msg.
	Sign(ctx context.Context, msg []byte) ([]byte, error)
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

// Store keeps what the sequencer must remember. When it also has
// Inclusion(ctx, height) (block.Included, error), blocks that are already known
// to lie on DA are not posted again.
type Store interface {
	// SavePending keeps the one block that is being made and changes the queue,
	// both or neither.
	SavePending(ctx context.Context, b block.Block, queue block.QueueChange, sync bool) error
	// Pending returns the block kept by SavePending, if it was not applied since.
	Pending(ctx context.Context) (block.Block, bool, error)
	// SaveQueue changes the queue of transactions that wait for a block.
	SaveQueue(ctx context.Context, queue block.QueueChange) error
	// Queue returns the queue and the position of its first transaction.
	Queue(ctx context.Context) (first uint64, txs [][]byte, err error)
	// Submitted returns what SaveSubmitted kept, 0 before.
	Submitted() (header, data uint64)
	// SaveSubmitted keeps the last heights known to lie on DA.
	SaveSubmitted(ctx context.Context, header, data uint64) error
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

// Marks takes note of blocks that lie on DA. The cursor is always 0: what the
// sequencer posts does not move the position up to which DA was read.
type Marks interface {
	Include(ctx context.Context, incs []block.Inclusion, cursor uint64) error
}

// Elsewhere is where blocks of the chain may lie that are not in the store.
type Elsewhere interface {
	// OnDA says what is still to be read there; nothing once all of the chain on
	// DA is in the store.
	OnDA() string
	// AtPeers says which peers have not told what they have; nothing once all did.
	AtPeers() string
}

// Posted says how far the chain is known to lie on DA. *Submitter implements it.
type Posted interface {
	// Submitted returns the last heights known to lie on DA.
	Submitted() (header, data uint64)
	// Progress returns a channel that is closed at the next change of Submitted.
	Progress() <-chan struct{}
}

// Namespaces are where headers and data are posted; they may be equal.
type Namespaces struct {
	Header da.Namespace
	Data   da.Namespace
}
