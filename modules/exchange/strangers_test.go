package exchange

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-node/tandem/testutil"
)

func observed() (tune, *observer.ObservedLogs) {
	core, logs := observer.New(zap.WarnLevel)
	return func(p *HeaderParams) { p.Log = zap.New(core) }, logs
}

// A peer of another chain cannot help, which is said once.
func TestPeerOfAnotherChainIsToldOnce(t *testing.T) {
	log, logs := observed()
	ours := newHeaderNode(t, testutil.NewChain("ours"), nil, log)
	theirs := testutil.NewChain("theirs")
	for range 2 {
		other := newHeaderNode(t, theirs, theirs.Blocks(3, 0))
		connect(t, ours.machine, other.machine)
	}
	third := newHeaderNode(t, testutil.NewChain("third"), nil)
	connect(t, ours.machine, third.machine)
	const message = "peer is of another chain: is the address in p2p.peers the right one, and the genesis file that of the chain?"
	eventually(t, func() bool { return logs.FilterMessage(message).Len() == 2 }, "no warning of both chains")
	var chains []string
	for _, e := range logs.FilterMessage(message).All() {
		require.Equal(t, "ours", e.ContextMap()["chain"])
		chains = append(chains, e.ContextMap()["peer_chain"].(string))
	}
	require.ElementsMatch(t, []string{"theirs", "third"}, chains)
	require.Zero(t, ours.ex.Status().Peers)
}

// Another genesis of the same name shows in who signs.
func TestPeerOfAnotherGenesisIsToldOnce(t *testing.T) {
	log, logs := observed()
	wrong := testutil.NewChain(chainID)
	wrong.Genesis.ProposerAddress = make([]byte, 32)
	ours := newHeaderNode(t, wrong, nil, log)
	right := testutil.NewChain(chainID)
	bs := right.Blocks(3, 0)
	for range 2 {
		connect(t, ours.machine, newHeaderNode(t, right, bs).machine)
	}
	eventually(t, func() bool { return ours.ex.Stats().Lies >= 2 }, "no header came")
	const message = "peer has a chain of this name with another proposer: is the genesis file that of the chain?"
	require.Equal(t, 1, logs.FilterMessage(message).Len())
	require.Equal(t, strings.Repeat("00", 32), logs.FilterMessage(message).All()[0].ContextMap()["genesis_proposer"])
}

func TestChainOfProtocol(t *testing.T) {
	for id, want := range map[protocol.ID]string{
		"/c1-headerSync/header-ex/v0.0.3": "c1", "/a-b/c-headerSync/header-ex/v0.0.3": "a-b/c", "/c1-dataSync/header-ex/v0.0.3": "",
		"/-headerSync/header-ex/v0.0.3": "", "c1-headerSync/header-ex/v0.0.3": "", "/ipfs/id/1.0.0": "", "": "",
	} {
		chain, ok := chainOf(id)
		require.Equal(t, want != "", ok, id)
		if ok {
			require.Equal(t, want, chain)
		}
	}
	long, ok := chainOf(protocol.ID("/" + strings.Repeat("x", 1000) + "-headerSync/header-ex/v0.0.3"))
	require.True(t, ok)
	require.Len(t, long, mostName)
	var s strangers
	for _, chain := range []string{"a", "b", "c", "d", "e"} {
		require.Equal(t, chain != "e", s.first(chain), "bounded")
		require.False(t, s.first(chain))
	}
}
