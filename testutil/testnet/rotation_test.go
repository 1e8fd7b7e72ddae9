package testnet_test

import (
	"encoding/hex"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/execution/executiontest"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// rotate has the chain hand over to the key of a name and waits until its node has
// made a block.
func rotate(t *testing.T, from, to *testnet.Node, name string) (named uint64) {
	t.Helper()
	from.Submit(executiontest.RotateTx(testnet.ProposerAddress(name)))
	testutil.Await(t, time.Minute, to.Pipeline.Changed, func() bool {
		return to.Applied() > 0 && string(to.Header(to.Applied()).Header.ProposerAddress) == string(testnet.ProposerAddress(name))
	})
	height := to.Applied()
	for string(to.Header(height).Header.ProposerAddress) == string(testnet.ProposerAddress(name)) {
		height--
	}
	return height
}

// Two sequencers take turns; whoever follows, by whatever source and from wherever
// on, ends with the same chain.
func TestProposersRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Logs.Allow("syncing failed, trying again")
		a := n.Sequencer(testnet.Name("a"), testnet.Rotating())
		b := n.Sequencer(testnet.Name("b"), testnet.Rotating(), testnet.Key("second"))
		both := n.Full(testnet.Name("both"), testnet.Rotating())
		peers := n.Full(testnet.Name("peers"), testnet.Rotating(), testnet.NoDA())
		onDA := n.Full(testnet.Name("da"), testnet.Rotating(), testnet.NoP2P())
		followers := []*testnet.Node{both, peers, onDA}
		onDA.WaitApplied(5, time.Minute)
		require.Contains(t, b.Producer.Stats().WaitingFor, "its turn")

		for range 3 {
			rotate(t, a, b, "second")
			require.Contains(t, a.Producer.Stats().WaitingFor, "its turn")
			require.Empty(t, b.Producer.Stats().WaitingFor)
			b.Put("from", "b")
			onDA.WaitApplied(b.Applied()+3, time.Minute)
			rotate(t, b, a, "proposer")
			onDA.WaitApplied(a.Applied()+3, time.Minute)
		}
		rotate(t, a, b, "second")
		n.WaitFinal(b.Applied()+2, time.Minute)

		// From genesis, through all of it.
		followers = append(followers,
			n.Full(testnet.Name("late peers"), testnet.Rotating(), testnet.NoDA()),
			n.Full(testnet.Name("late da"), testnet.Rotating(), testnet.NoP2P()))
		at := b.Applied()
		for _, x := range followers {
			x.WaitApplied(at+5, time.Minute)
		}
		n.SameRoots(at + 5)

		// And through a restart of everybody.
		for _, x := range append(followers, a, b) {
			x.Restart()
		}
		n.WaitFinal(at+10, time.Minute)
		n.SameRoots(at + 10)
		for _, x := range n.Nodes() {
			require.Nil(t, x.Status().Conflicts, x.Name())
		}
	})
}

// Nodes that die right at the rotation, before and after the commit of the block
// that names the next proposer, go on.
func TestRotationCrash(t *testing.T) {
	for _, where := range []string{"before", "after"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				n.Logs.Allow("syncing failed, trying again", "executor is ahead, rolling back", "reading from da fails; retrying",
					"nothing can be posted to the DA layer, trying again", "worker failed, the node stops", "block not broadcast")
				a := n.Sequencer(testnet.Name("a"), testnet.Rotating())
				b := n.Sequencer(testnet.Name("b"), testnet.Rotating(), testnet.Key("second"))
				peers := n.Full(testnet.Name("peers"), testnet.Rotating(), testnet.NoDA())
				onDA := n.Full(testnet.Name("da"), testnet.Rotating(), testnet.NoP2P())
				onDA.WaitApplied(5, time.Minute)
				time.Sleep(500 * time.Millisecond) // virtual: between two blocks
				a.Submit(executiontest.RotateTx(testnet.ProposerAddress("second")))
				next := a.Applied() + 1
				victims := []*testnet.Node{b, peers, onDA}
				held := make([]<-chan struct{}, len(victims))
				for i, x := range victims {
					if held[i] = x.Probe.HoldBefore(next); where == "after" {
						x.Probe.Release()
						held[i] = x.Probe.HoldAfter(next)
					}
				}
				for i, x := range victims {
					<-held[i]
					x.Crash()
					x.Start()
				}
				n.WaitApplied(next+5, time.Minute)
				require.Equal(t, testnet.ProposerAddress("second"), onDA.Header(next+1).Header.ProposerAddress)
				b.Crash() // the proposer itself
				b.Start()
				at := b.Applied()
				n.WaitApplied(at+5, time.Minute)
				n.WaitFinal(at+3, time.Minute)
				n.SameRoots(at + 5)
			})
		})
	}
}

// A rollback below the rotation gives the old proposer back.
func TestRotationRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.AllowDoubleSigning()
		n.Logs.Allow("the proposer signed two headers for one height", "header on da differs from the stored one",
			"rolling back to follow da", "rolled back to follow da", "chain store truncated", "executor is ahead, rolling back",
			"conflicting items", "peer sent a bad item", "header differs from the one on da", "reading from da fails; retrying",
			"nothing can be posted to the DA layer, trying again", "syncing failed, trying again")
		peers := n.Sequencer(testnet.Name("peers"), testnet.Rotating(), testnet.Unchecked())
		peers.CutDA()
		second := n.Sequencer(testnet.Name("second"), testnet.Rotating(), testnet.Key("second"), testnet.Peers(peers),
			testnet.Unchecked())
		second.CutDA()
		full := n.Full(testnet.Name("full"), testnet.Rotating(), testnet.Peers(peers))
		full.CutDA()
		full.WaitApplied(3, time.Minute)
		at := rotate(t, peers, second, "second")
		full.WaitApplied(at+5, time.Minute)
		second.Stop()
		peers.Stop()

		// The same key tells DA another story, without a rotation.
		onDA := n.Sequencer(testnet.Name("da"), testnet.Rotating(), testnet.NoP2P())
		onDA.WaitFinal(at+10, 2*time.Minute)
		full.RestoreDA()
		full.WaitFinal(at+15, 2*time.Minute)
		require.Equal(t, testnet.ProposerAddress("proposer"), full.Header(at+5).Header.ProposerAddress)
		n.SameRoots(at + 15)
		require.NotZero(t, full.Status().Conflicts.Reverts)
	})
}

// A node that executes nothing cannot know who comes next: it stops there and says
// so, unless it was told whom to trust.
func TestRotationLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Logs.Allow("syncing failed, trying again")
		a := n.Sequencer(testnet.Name("a"), testnet.Rotating())
		b := n.Sequencer(testnet.Name("b"), testnet.Rotating(), testnet.Key("second"))
		strict := n.Light(testnet.Name("strict"))
		told := n.Light(testnet.Name("told"), testnet.Change(func(c *app.Config) {
			c.Pipeline.Proposers = []string{hex.EncodeToString(testnet.ProposerAddress("second"))}
		}))
		told.WaitApplied(5, time.Minute)
		at := rotate(t, a, b, "second")
		told.WaitFinal(at+10, time.Minute)
		require.Equal(t, at, strict.Applied())
		require.Contains(t, strict.Status().WaitingFor, "signs header")
		back := rotate(t, b, a, "proposer")
		told.WaitFinal(back+5, time.Minute)
		require.Equal(t, at, strict.Applied())
	})
}
