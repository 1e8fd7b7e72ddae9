package exchange

import (
	"time"

	header "github.com/celestiaorg/go-header"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/telemetry/blocktrace"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// Network is the libp2p host and its pubsub. It is asked for them when Run
// starts, not before.
type Network interface {
	Host() host.Host
	PubSub() *pubsub.PubSub
}

// Proposers knows who must sign. It is asked from many goroutines at once.
type Proposers interface {
	// Judge says whether an address may sign a height. What an unproven one signed
	// is left alone, and not blamed on who sent it.
	Judge(height uint64, address []byte) block.Standing
	// Changed returns a channel that is closed when Judge may say something else.
	Changed() <-chan struct{}
}

// Hint returns the DA height a half of a block was seen at; 0 when not seen.
type Hint func(height uint64) uint64

// HeaderParams is what an exchange of headers needs. Hint, Now, Log, Tracer,
// Conflicts and Blame may be nil.
type HeaderParams struct {
	Network   Network
	Store     header.Store[*block.SignedHeader]
	Genesis   block.Genesis
	Proposers Proposers
	// Refuted reports whether execution has refuted a header, which is then not
	// taken and not blamed on who sends it; nil refutes none.
	Refuted func(block.Hash) bool
	Hint    Hint
	Now     func() time.Time
	Config  Config
	Log     *zap.Logger
	Tracer  *blocktrace.Tracer
	// Problems hears of a clock that is behind the headers; nil hears nothing.
	Problems *problems.Board
	// Hinted hears of every header that came with a DA hint: where the peer says
	// that it lies on DA. The header was checked, the hint cannot be. It must neither
	// block nor call back; nil hears nothing.
	Hinted func(h *block.SignedHeader, from peer.ID)
	// Conflicts hears of two headers of one height, both signed by the proposer.
	// It must neither block nor call back. The peer is the one that sent the second.
	Conflicts func(*block.Conflict[*block.SignedHeader], peer.ID)
	// Blame hears of peers that did what honest ones do not. It must neither block
	// nor call back.
	Blame func(peer.ID, Fault, error)
}

// DataParams is what an exchange of data needs. Hint, Now, Log, Tracer,
// Conflicts and Blame may be nil.
type DataParams struct {
	Network Network
	Store   header.Store[*block.Data]
	Headers header.Store[*block.SignedHeader]
	// HeaderEvents subscribes to new headers in Headers: a wake-up per change,
	// coalesced, and the function that ends the subscription.
	HeaderEvents func() (<-chan struct{}, func())
	Genesis      block.Genesis
	Hint         Hint
	Now          func() time.Time
	Config       Config
	Log          *zap.Logger
	Tracer       *blocktrace.Tracer
	// Conflicts hears of two data items of one height. It must neither block nor
	// call back.
	Conflicts func(*block.Conflict[*block.Data], peer.ID)
	// Blame hears of peers that did what honest ones do not. It must neither block
	// nor call back.
	Blame func(peer.ID, Fault, error)
}

// NewHeaders returns an exchange of headers. It starts nothing.
func NewHeaders(p HeaderParams) *Exchange[*block.SignedHeader] {
	return newExchange(core[*block.SignedHeader]{
		net: p.Network, store: p.Store, cfg: p.Config, hint: p.Hint, now: p.Now, log: p.Log, tracer: p.Tracer,
		conflicts: p.Conflicts, hinted: p.Hinted, blame: p.Blame, genesis: p.Genesis, kind: block.KindHeader,
	}, func(now func() time.Time) rules[*block.SignedHeader] {
		refuted := p.Refuted
		if refuted == nil {
			refuted = func(block.Hash) bool { return false }
		}
		return &headerRules{genesis: p.Genesis, proposers: p.Proposers, refuted: refuted, now: now, board: p.Problems}
	})
}

// NewData returns an exchange of data, which follows the header store. It
// starts nothing.
func NewData(p DataParams) *Exchange[*block.Data] {
	return newExchange(core[*block.Data]{
		net: p.Network, store: p.Store, cfg: p.Config, hint: p.Hint, now: p.Now, log: p.Log, tracer: p.Tracer,
		conflicts: p.Conflicts, blame: p.Blame, genesis: p.Genesis, kind: block.KindData, headers: p.HeaderEvents,
	}, func(now func() time.Time) rules[*block.Data] {
		return &dataRules{genesis: p.Genesis, headers: p.Headers, now: now, wait: p.Config.DataWait, ahead: p.Config.ParkHeights}
	})
}
