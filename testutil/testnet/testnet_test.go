package testnet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-node/tandem/testutil/testnet"
)

// Every combination of sources leads to the same chain and state.
func TestAllSourcesReachTheSameRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer()
		both, p2pOnly, daOnly := n.Full(testnet.Name("both")), n.Full(testnet.Name("p2p"), testnet.NoDA()), n.Full(testnet.Name("da"), testnet.NoP2P())
		seq.Put("k", "v")
		for _, x := range []*testnet.Node{both, p2pOnly, daOnly} {
			x.WaitGet("k", "v", 10*time.Second)
		}
		n.WaitApplied(20, time.Minute)
		n.SameRoots(20)
		n.WaitFinal(20, time.Minute)
	})
}
