package testnet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// allowTwoStories lets nodes say what they may have to say, in one order of events
// or another, when the proposer signs two chains. Not allowed is that a header of
// one of them follows nothing: each is posted in order.
func allowTwoStories(n *testnet.Net) {
	n.AllowDoubleSigning()
	allowDATrouble(n)
	n.Logs.Allow("the proposer signed two headers for one height", "header on da differs from the stored one",
		"header differs from the one on da", "conflicting items", "peer sent a bad item", "dropping a head nobody can prove")
}

// allowRollback lets nodes roll back, and meet a store that is cut back under
// their hands.
func allowRollback(n *testnet.Net) {
	n.Logs.Allow("rolling back to follow da", "rolled back to follow da", "chain store truncated", "executor is ahead, rolling back",
		"sync step failed, trying again", "syncing failed, trying again")
}

// T1: the proposer tells peers one story and DA another. A follower of both ends
// with the state of one that reads DA alone, and can prove what happened, also
// after a restart.
func TestT1_TwoStories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		allowTwoStories(n)
		allowRollback(n)
		peers := n.Sequencer(testnet.Name("peers"), testnet.Unchecked())
		peers.CutDA()
		full := n.Full(testnet.Name("full"), testnet.Peers(peers))
		light := n.Light(testnet.Name("light"), testnet.Peers(peers))
		full.CutDA()
		light.CutDA()
		peers.Put("k", "p2p")
		full.WaitGet("k", "p2p", 10*time.Second)
		full.WaitApplied(20, time.Minute)

		onDA := n.Sequencer(testnet.Name("da"), testnet.NoP2P())
		honest := n.Full(testnet.Name("honest"), testnet.NoP2P())
		onDA.Put("k", "da")
		honest.WaitGet("k", "da", time.Minute)
		full.RestoreDA()
		light.RestoreDA()
		full.WaitGet("k", "da", 2*time.Minute)
		peers.Stop()
		n.WaitFinal(honest.Final()+20, 3*time.Minute)
		n.SameRoots(honest.Final())

		for _, x := range []*testnet.Node{full, light} {
			s := x.Status()
			require.NotNil(t, s.Conflicts, x.Name())
			require.NotZero(t, s.Conflicts.Count)
			require.NotZero(t, s.Conflicts.Reverts)
			require.Equal(t, string(pipeline.PolicyFollowDA), s.Conflicts.Policy)
			require.NotZero(t, s.Conflicts.Last.SecondDA+s.Conflicts.Last.FirstDA)
			count := s.Conflicts.Count
			x.Stop()
			x.Start()
			require.Equal(t, count, x.Status().Conflicts.Count, "evidence survives")
			for _, e := range x.Evidence() {
				require.NoError(t, e.Verify(n.Genesis))
			}
		}
		n.WaitFinal(honest.Final()+5, time.Minute)
	})
}

// With the policy halt a follower stops instead, and says why.
func TestT1_TwoStoriesHalt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Config(func(c *app.Config) { c.Pipeline.Conflict = pipeline.PolicyHalt }))
		allowTwoStories(n)
		n.Logs.Allow("worker failed, the node stops")
		peers := n.Sequencer(testnet.Name("peers"), testnet.Unchecked())
		peers.CutDA()
		full := n.Full(testnet.Name("full"), testnet.Peers(peers))
		full.CutDA()
		full.WaitApplied(5, time.Minute)
		n.Sequencer(testnet.Name("da"), testnet.NoP2P())
		full.RestoreDA()
		full.WaitHalt(time.Minute)
		require.Contains(t, full.Status().Conflicts.Halted, "tandem repair --apply")
		require.NotZero(t, full.Status().Conflicts.Count)
		full.Stop()
		peers.Stop()
	})
}
