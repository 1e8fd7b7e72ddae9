package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	header "github.com/celestiaorg/go-header"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/beat"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// readTimeout bounds reads of stored blocks: they are there or they never come.
const readTimeout = 10 * time.Second

// Ahead hears of an executor that has executed blocks beyond the applied ones,
// before they are rolled back: the database has lost them, or a crash came between.
type Ahead func(ctx context.Context, executed uint64) error

// Params is what a pipeline is made of. Events, Ahead, Now, Log and Tracer may be nil;
// Executor, too, when Config.HeadersOnly.
type Params struct {
	Genesis  block.Genesis
	Store    Store
	Headers  Headers
	Data     Data
	Executor Executor
	Events   Events
	Ahead    Ahead
	Now      func() time.Time
	// ExecutorName is what the executor is called in the config.
	ExecutorName string
	Config       Config
	Board        *problems.Board // nil: nobody is told
	Log          *zap.Logger
	Tracer       *blocktrace.Tracer
}

// Pipeline applies blocks. Build it with New, then call Open, or Load and Run.
type Pipeline struct {
	genesis block.Genesis
	store   Store
	headers Headers
	data    Data
	exec    Executor
	events  Events
	ahead   Ahead
	now     func() time.Time
	cfg     Config
	board   *problems.Board
	log     *zap.Logger
	tracer  *blocktrace.Tracer
	// executor is what it is called in the config.
	executor string

	gate chan struct{} // holds a token while a writer is inside

	// Owned by the writer inside the gate.
	open    bool
	halt    error // why no more blocks are taken
	state   block.State
	recent  recent
	seen    map[uint64]block.Included // a part of the store's, above final
	states  []block.State             // of the group in the making
	waiting waiting
	unsure  bool // the executor may have executed more than was reported
	final   finality
	logged  map[reported]struct{}
	policy  Policy
	trusted [][]byte // addresses of Config.Proposers
	// reverting is a rollback that was decided and is not done.
	reverting *block.Revert
	owed      *RevertedError // what the DA worker has yet to hear
	deposed   bool           // the newest block named another proposer
	// accused is the evidence of refuted headers above the applied height.
	accused   map[block.Hash]block.Evidence
	standing  *RefutedError // keeps the next height from being applied; nil when nothing does
	told      uint64        // height of the refutation on the board, 0 for none
	dropped   uint64        // height at which a stored block broke a rule
	blocks    uint64
	txs       uint64
	executing time.Duration
	by        [block.SourceLocal + 1]Share
	size      uint64 // of the blocks whose states are in states
	since     uint64 // the proposer is the same from this height on

	beat      beat.Beat // of the writer inside
	refuted   refutations
	trouble   trouble
	snap      atomic.Pointer[Snapshot]
	replaying atomic.Pointer[Replay]
	wakeMu    sync.Mutex
	wake      chan struct{}
}

// New returns a pipeline that is not open yet. It starts nothing.
func New(with Params) *Pipeline {
	p := &Pipeline{
		genesis: with.Genesis, store: with.Store, headers: with.Headers, data: with.Data,
		exec: with.Executor, events: with.Events, ahead: with.Ahead, now: with.Now, cfg: with.Config, log: with.Log, tracer: with.Tracer,
		gate: make(chan struct{}, 1),
		seen: make(map[uint64]block.Included), logged: make(map[reported]struct{}), accused: make(map[block.Hash]block.Evidence),
		board: with.Board, executor: with.ExecutorName, trusted: with.Config.proposers(),
	}
	if p.exec == nil {
		p.exec = NoExecutor{}
	}
	if p.events == nil {
		p.events = NoEvents{}
	}
	if p.ahead == nil {
		p.ahead = func(context.Context, uint64) error { return nil }
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	p.state = block.GenesisState(p.genesis, nil)
	p.since = p.state.NextHeight()
	p.snap.Store(&Snapshot{State: p.state, since: p.since})
	return p
}

// enter waits for the writer's turn. Leave must follow when it returns nil.
func (p *Pipeline) enter(ctx context.Context) error {
	select {
	case p.gate <- struct{}{}:
		p.beat.Busy()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pipeline) leave() {
	p.beat.Idle()
	<-p.gate
}

// Beat tells for how long a writer has been busy with one group of blocks.
func (p *Pipeline) Beat() *beat.Beat { return &p.beat }

// ready reports why blocks cannot be taken now.
func (p *Pipeline) ready() error {
	if !p.open {
		return ErrNotOpen
	}
	if p.halt != nil {
		return p.halt
	}
	return p.Conflicts().Halted
}

// trouble is what is known of conflicts, also to those outside the gate.
type trouble struct {
	mu sync.Mutex
	Conflicts
}

// set starts over.
func (t *trouble) set(policy Policy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Policy, t.Halted = policy, nil
}

// State returns the state after the newest applied block.
func (p *Pipeline) State() block.State { return p.snap.Load().State }

// stored returns the stored header of an applied height.
func (p *Pipeline) stored(ctx context.Context, height uint64) (*block.SignedHeader, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	h, err := p.headers.GetByHeight(ctx, height)
	if err != nil {
		return nil, fmt.Errorf("read header %d: %w", height, err)
	}
	return h, nil
}

// applied returns what is known of an applied height.
func (p *Pipeline) applied(ctx context.Context, height uint64) (mark, error) {
	if m, ok := p.recent.at(height); ok {
		return m, nil
	}
	st, err := p.store.StateAt(ctx, height)
	if err != nil {
		return mark{}, fmt.Errorf("read state %d: %w", height, err)
	}
	h, err := p.stored(ctx, height)
	if err != nil {
		return mark{}, err
	}
	if m := markOf(h); string(m.hash[:]) == string(st.LastHeaderHash) {
		return m, nil
	}
	return mark{}, stateErrorf("block %d is stored with hash %s but %X was applied: the database is damaged; "+
		"'tandem repair' says what can be kept", height, h.Digest(), st.LastHeaderHash)
}

// pruned reports whether an error of applied means that the block is final and
// no longer kept: there is nothing left to compare with.
func (p *Pipeline) pruned(height uint64, err error) bool {
	return height <= p.final.height && errors.Is(err, header.ErrNotFound)
}

// included returns where a block was seen on DA.
func (p *Pipeline) included(ctx context.Context, height uint64) (block.Included, error) {
	if in, ok := p.seen[height]; ok {
		return in, nil
	}
	in, err := p.store.Inclusion(ctx, height)
	switch {
	case errors.Is(err, header.ErrNotFound):
		return block.Included{}, nil
	case err != nil:
		return block.Included{}, fmt.Errorf("read inclusion %d: %w", height, err)
	}
	if in != (block.Included{}) {
		p.remember(height, in)
	}
	return in, nil
}

// maxSeen bounds the inclusions kept in memory to about half a megabyte; of
// more, the store is asked.
const maxSeen = 4096

func (p *Pipeline) remember(height uint64, in block.Included) {
	if height <= p.final.height {
		return
	}
	if _, ok := p.seen[height]; ok || len(p.seen) < maxSeen {
		p.seen[height] = in
	}
}

type reported struct {
	height uint64
	hash   block.Hash
}

// firstTime reports whether this conflict was not logged before.
func (p *Pipeline) firstTime(height uint64, hash block.Hash) bool {
	const most = 256
	key := reported{height, hash}
	if _, ok := p.logged[key]; ok {
		return false
	}
	if len(p.logged) >= most {
		clear(p.logged)
	}
	p.logged[key] = struct{}{}
	return true
}
