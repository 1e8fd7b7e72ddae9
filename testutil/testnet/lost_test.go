package testnet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// A sequencer that lost its disk finds a genesis file, a key and nothing else:
// it signs no block of the chain a second time. The Net fails the test when one
// height is signed twice.
func TestSequencerThatLostItsDisk(t *testing.T) {
	t.Run("dead DA at its start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t, testnet.BlockTime(5*time.Second), testnet.DATime(time.Second))
			allowDATrouble(n)
			seq := n.Sequencer(testnet.NoP2P())
			full := n.Full(testnet.NoP2P())
			seq.Put("before", "kept")
			full.WaitFinal(20, 3*time.Minute)
			height := lose(n, seq)
			require.NoError(t, n.DA.SetOutage(da.OutageRefuse))
			seq.Start()
			time.Sleep(10 * time.Minute)
			require.Zero(t, seq.Applied(), "it waits for DA")
			require.Contains(t, seq.Status().WaitingFor, "DA to be read, where the chain may have blocks already: ")
			require.NoError(t, n.DA.SetOutage(da.OutageNone))
			seq.WaitApplied(height+5, time.Minute)
			seq.WaitGet("before", "kept", time.Second)
			n.WaitFinal(height+5, time.Minute)
			n.SameRoots(height + 5)
		})
	})
	t.Run("blocks that only peers have", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t)
			allowDATrouble(n)
			seq, full := n.Sequencer(), n.Full()
			n.WaitFinal(5, time.Minute)
			require.NoError(t, n.DA.SetOutage(da.OutageRefuse))
			n.WaitApplied(full.Final()+60, 2*time.Minute) // of which DA will never hear
			seq.Stop()
			seq.Forget()
			height := full.Applied()
			require.NoError(t, n.DA.SetOutage(da.OutageNone))
			seq.Start(testnet.Peers(full))
			n.WaitApplied(height+5, time.Minute)
			n.SameRoots(height + 5)
		})
	})
}

// lose stops the sequencer once all it has made is on DA, and takes its home.
func lose(n *testnet.Net, seq *testnet.Node) uint64 {
	height := seq.Applied()
	n.WaitFinal(height, time.Minute)
	seq.Stop()
	seq.Forget()
	return height
}
