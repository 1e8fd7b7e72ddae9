package testnet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// offend makes a node ban a peer for what it is said to have done.
func offend(x, peer *testnet.Node) {
	for range 5 {
		x.Network.Penalise(peer.Network.ID(), p2p.Invalid, "a test says so")
	}
}

// longBans would keep a node without peers for an hour.
func longBans(c *app.Config) { c.P2P.BanTime = time.Hour }

// With all peers banned the least bad one gets another chance, static or not, long
// before the ban is over.
func TestP2PIsolation_AllPeersBanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Config(longBans))
		seq := n.Sequencer()
		full := n.Full(testnet.NoDA())
		full.WaitApplied(3, 20*time.Second)
		offend(full, seq)
		offend(seq, full)
		at := full.Applied()
		require.Len(t, full.Network.Bans(), 1)
		full.WaitApplied(at+10, 2*time.Minute)
		require.Empty(t, full.Network.Bans())
		require.NotZero(t, full.Network.Stats().Rescues)
	})
}

// One banned peer of two changes nothing, and stays banned.
func TestP2PIsolation_NoChanceWhileAnotherIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Config(longBans))
		seq := n.Sequencer()
		other := n.Full(testnet.NoDA())
		full := n.Full(testnet.NoDA())
		full.WaitApplied(3, 20*time.Second)
		full.WaitConnected(other, 10*time.Second)
		offend(full, other)
		at := full.Applied()
		full.WaitApplied(at+30, time.Minute)
		require.Len(t, full.Network.Bans(), 1)
		require.Zero(t, full.Network.Stats().Rescues)
		require.NotEmpty(t, seq.Network.Peers())
	})
}

// A node that only was dialled looks for its former peers when none is left.
func TestP2PIsolation_FormerPeersAreDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer()
		full := n.Full(testnet.NoDA())
		full.WaitApplied(3, 20*time.Second)
		full.Stop()
		full.Start(testnet.DeadPeer()) // it dials nobody who is there
		at := full.Applied()
		full.WaitApplied(at+10, 3*time.Minute)
		require.NotZero(t, seq.Network.Stats().Rescues)
	})
}

// A ban ends by itself, and static peers are dialled again then.
func TestP2PIsolation_BansEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Config(func(c *app.Config) { c.P2P.BanTime = 20 * time.Second }))
		seq := n.Sequencer()
		full := n.Full(testnet.NoDA())
		full.WaitApplied(3, 20*time.Second)
		require.NoError(t, full.Network.Ban(seq.Network.ID(), 20*time.Second, "by hand"))
		time.Sleep(10 * time.Second)
		at := full.Applied()
		require.Empty(t, full.Network.Peers(), "what the operator banned gets no chance")
		full.WaitApplied(at+10, 30*time.Second)
	})
}
