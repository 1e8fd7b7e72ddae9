package exchange

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// Fault is what a peer did that an honest one does not do, or seldom.
type Fault uint8

// The faults. Who hears of them (Blame) decides what they cost.
const (
	// FaultInvalid is bytes no honest peer makes: garbage, a wrong signature, a
	// broken rule.
	FaultInvalid Fault = iota
	// FaultRelayed is the same in gossip that somebody else made. Peers that do not
	// check what they relay, as ev-node's, pass it on in good faith.
	FaultRelayed
	// FaultMismatch is a sound item that does not fit the chain as it is known here.
	FaultMismatch
	// FaultUnproven is a head of its own that the peer could not prove.
	FaultUnproven
	// FaultStalled is a request that ended without an answer in time.
	FaultStalled
	// FaultRepeated is gossip of its own that brings nothing: known items again, in
	// other forms than their own, or with hints nobody can check; far more than any
	// honest peer sends.
	FaultRepeated
	faults
)

// String returns the fault as it appears in metrics.
func (f Fault) String() string {
	return [faults]string{"invalid", "relayed", "mismatch", "unproven", "stalled", "repeated"}[f]
}

// errStalled marks requests that took all their time.
var errStalled = errors.New("no progress in time")

// faultOf tells what it is that err says of an item.
func faultOf(err error) Fault {
	for _, rule := range []block.Rule{
		block.ErrUnexpectedProposer, block.ErrBrokenLink, block.ErrBrokenDataLink, block.ErrTimeBackwards, block.ErrWrongCommitment,
		block.ErrDataTime, block.ErrDataHeight,
	} {
		if errors.Is(err, rule) {
			return FaultMismatch
		}
	}
	return FaultInvalid
}

// lie records that a peer answered what no honest peer answers.
func (e *Exchange[H]) lie(p peer.ID, err error) {
	e.counts.lies.Add(1)
	e.withdraw(p, 0)
	e.log.Warn("peer sent a bad item", zap.Stringer("peer", p), zap.Error(err))
	e.ofOtherGenesis(p, err)
	e.accuse(p, faultOf(err), err)
}

// withdraw drops a peer's claim if it is not below height, and makes the peer be
// asked again later.
func (e *Exchange[H]) withdraw(p peer.ID, height uint64) (claim, bool) {
	c, ok := e.claims.withdraw(p, height)
	if ok {
		e.peers.doubt(p, time.Now())
		e.poke()
	}
	return c, ok
}

// accuse passes a fault on.
func (e *Exchange[H]) accuse(p peer.ID, f Fault, err error) {
	e.counts.faults[f].Add(1)
	if e.blame != nil {
		e.blame(p, f, err)
	}
}
