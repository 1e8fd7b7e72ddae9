package testnet_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// A DA node hides blobs, or tells of a head far up, for a while. Followers, with peers
// and without, and the sequencer have all blocks final soon after it is honest again,
// also when they were restarted meanwhile.
func TestDALiesHeal(t *testing.T) {
	for name, lie := range map[string]testnet.Lie{
		"hides blobs": {Hide: true},
		"head far up": {Head: 1 << 62},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", restart"}[restart], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New(t)
					allowDATrouble(n)
					n.Logs.Allow("da head is below what was already read", "da endpoint is behind")
					seq, full, alone, light := n.Sequencer(), n.Full(), n.Full(testnet.NoP2P()), n.Light()
					all := []*testnet.Node{full, alone, light, seq}
					n.WaitFinal(5, time.Minute)
					for _, x := range all {
						x.LieDA(lie)
					}
					time.Sleep(6 * time.Second)
					if restart {
						for _, x := range all[:3] {
							x.Restart()
						}
						time.Sleep(6 * time.Second)
					}
					for _, x := range all {
						x.LieDA(testnet.Lie{})
					}
					time.Sleep(10 * time.Second)
					at := seq.Applied()
					for _, x := range all {
						x.WaitFinal(at, 2*time.Minute)
					}
					n.SameRoots(at)
				})
			})
		}
	}
}

// DA answers a submission and keeps nothing: nobody calls it final, the sequencer
// neither, and everybody says so.
func TestLostSubmissionsAreNotFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Logs.Allow("nothing can be posted to the DA layer, trying again")
		n.Logs.Allow("the DA layer does not hold what it answered to have taken, posting it again")
		seq, full := n.Sequencer(), n.Full()
		n.WaitFinal(5, time.Minute)
		seq.LieDA(testnet.Lie{Lose: true})
		time.Sleep(2 * n.DATime())
		final := full.Final()
		time.Sleep(90 * time.Second)
		require.Greater(t, seq.Applied(), final+60)
		for _, x := range []*testnet.Node{seq, full} {
			require.Equal(t, final, x.Final(), x.Name())
			require.True(t, slices.ContainsFunc(x.Status().Problems, func(p rpc.Problem) bool { return p.Kind == "finality" }), x.Name())
			require.NotEmpty(t, x.Status().WaitingFor, x.Name())
		}
		seq.LieDA(testnet.Lie{})
		n.WaitFinal(final+60, 5*time.Minute) // what was lost is posted again
	})
}
