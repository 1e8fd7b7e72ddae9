package testnet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// What a node says of each source is what happened to it.
func TestStatusPerSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		allowDATrouble(n)
		n.Sequencer()
		full := n.Full()
		n.WaitFinal(10, time.Minute)
		s := full.Status()
		require.Zero(t, s.P2P.Progress.Lag)
		require.Zero(t, s.P2P.Progress.Seconds)
		require.Equal(t, s.Heads.P2P, s.P2P.Progress.Head)
		require.Less(t, time.Since(s.P2P.Progress.LastProgress), 2*time.Second)
		require.Positive(t, s.P2P.Progress.Rate)
		require.Equal(t, s.Heads.DA, s.DA.Progress.Head)
		require.LessOrEqual(t, s.DA.Progress.Lag, uint64(1))
		require.Less(t, time.Since(s.DA.Progress.LastProgress), 2*n.DATime())
		require.Empty(t, s.P2P.Progress.WaitingFor+s.DA.Progress.WaitingFor+s.WaitingFor)

		full.Probe.FailFrom(full.Applied() + 1) // what comes is not applied
		n.Logs.Allow("syncing failed, trying again")
		time.Sleep(40 * time.Second)
		s = full.Status()
		require.InDelta(t, 40, float64(s.Lag.Blocks), 2)
		require.InDelta(t, 40, s.Lag.Seconds, 3)
		require.Zero(t, s.P2P.Progress.Lag, "peers have brought it all")
		full.Probe.Fail(nil)
		full.WaitApplied(s.Heads.Header, time.Minute)

		full.Isolate()
		require.NoError(t, n.DA.SetOutage(da.OutageRefuse))
		time.Sleep(time.Minute)
		s = full.Status()
		require.Equal(t, "peers of the chain", s.P2P.Progress.WaitingFor)
		require.Equal(t, "an answer", s.DA.Progress.WaitingFor)
		require.Greater(t, time.Since(s.P2P.Progress.LastProgress), 50*time.Second)
		require.Greater(t, time.Since(s.DA.Progress.LastProgress), 50*time.Second)
		require.Contains(t, s.WaitingFor, "a source of blocks: no peers, and DA fails")
		full.Rejoin()
		require.NoError(t, n.DA.SetOutage(da.OutageNone))
		n.WaitFinal(full.Applied()+10, 5*time.Minute)
	})
}
