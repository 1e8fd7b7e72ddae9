package exchange

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

// strangers are the marks of a node that was given the genesis file, or the
// peers, of another chain. Each is told once: peers are free to claim anything.
type strangers struct {
	mu      sync.Mutex
	chains  map[string]struct{}
	genesis sync.Once
}

// mostStrangers bounds how many chains are told of, and mostName their names.
const (
	mostStrangers = 4
	mostName      = 64
)

// first reports whether a chain was not told of before.
func (s *strangers) first(chain string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.chains[chain]; ok || len(s.chains) >= mostStrangers {
		return false
	}
	if s.chains == nil {
		s.chains = map[string]struct{}{}
	}
	s.chains[chain] = struct{}{}
	return true
}

// ofOtherChain warns of a peer that speaks the protocol of another chain only.
func (e *Exchange[H]) ofOtherChain(p peer.ID) {
	if e.kind != block.KindHeader {
		return // both kinds meet the same peers
	}
	known, err := e.host.Peerstore().GetProtocols(p)
	if err != nil {
		return
	}
	for _, id := range known {
		chain, ok := chainOf(id)
		if ok && chain != e.genesis.ChainID && e.strangers.first(chain) {
			e.log.Warn("peer is of another chain: is the address in p2p.peers the right one, and the genesis file that of the chain?",
				zap.Stringer("peer", p), zap.String("peer_chain", chain), zap.String("chain", e.genesis.ChainID))
		}
	}
}

// chainOf returns the chain whose headers a protocol serves.
func chainOf(id protocol.ID) (string, bool) {
	_, of := wireNames("", block.KindHeader)
	name, ok := strings.CutPrefix(string(id), "/")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, string(of[1:]))
	return name[:min(len(name), mostName)], ok && name != ""
}

// ofOtherGenesis warns when the first headers a node gets are of another proposer
// than its genesis file names.
func (e *Exchange[H]) ofOtherGenesis(p peer.ID, err error) {
	v, ok := errors.AsType[*block.Violation](err)
	if !ok || v.Rule != block.ErrUnexpectedProposer || e.store.Height() > 0 {
		return
	}
	e.strangers.genesis.Do(func() {
		e.log.Warn("peer has a chain of this name with another proposer: is the genesis file that of the chain?",
			zap.Stringer("peer", p), zap.String("proposer", v.Got),
			zap.String("genesis_proposer", fmt.Sprintf("%X", e.genesis.ProposerAddress)))
	})
}
