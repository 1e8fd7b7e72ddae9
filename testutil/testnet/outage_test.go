package testnet_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// While DA is down the chain goes on over P2P and the final head waits; then it
// catches up.
func TestDAOutage(t *testing.T) {
	for _, outage := range []da.Outage{da.OutageRefuse, da.OutageHang} {
		t.Run(string(outage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				allowDATrouble(n)
				seq, full := n.Sequencer(), n.Full()
				n.WaitFinal(5, time.Minute)
				require.NoError(t, n.DA.SetOutage(outage))
				time.Sleep(time.Second)
				final, applied := full.Final(), full.Applied()
				seq.Put("k", "v")
				full.WaitGet("k", "v", 2*time.Second)
				n.WaitApplied(applied+120, 3*time.Minute)
				require.Equal(t, final, full.Final(), "nothing becomes final")
				require.NoError(t, n.DA.SetOutage(da.OutageNone))
				n.WaitFinal(applied+120, time.Minute)
				n.SameRoots(applied + 120)
			})
		})
	}
}

// allowDATrouble lets nodes warn of a DA layer that does not answer.
func allowDATrouble(n *testnet.Net) {
	n.Logs.Allow("reading from da fails; retrying", "nothing can be posted to the DA layer, trying again")
}

// A follower whose links are cut goes on by DA, and takes up P2P again after.
func TestP2PCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq, full := n.Sequencer(), n.Full()
		full.WaitApplied(5, 10*time.Second)
		full.Isolate()
		seq.Put("k", "v")
		full.WaitGet("k", "v", 10*time.Second)
		full.WaitApplied(60, 2*time.Minute)
		full.Rejoin()
		time.Sleep(2 * time.Minute)                           // longest back-off of a dial
		full.WaitApplied(seq.Applied(), 100*time.Millisecond) // P2P is back: no DA block to wait for
		require.NotZero(t, full.Status().P2P.Peers)
	})
}

// The sequencer's links and those between followers are cut in turn: gossip finds
// its way through whoever is left.
func TestPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer(testnet.Name("seq"))
		a := n.Full(testnet.Name("a"), testnet.NoDA())
		b := n.Full(testnet.Name("b"), testnet.NoDA())
		n.WaitApplied(5, 10*time.Second)
		n.Cut(seq, b)
		seq.Put("via", "a")
		b.WaitGet("via", "a", 10*time.Second)
		n.Heal()
		n.Cut(seq, a)
		n.Cut(seq, b)
		time.Sleep(time.Minute)
		at := a.Applied()
		time.Sleep(time.Minute)
		require.Equal(t, at, a.Applied(), "no way to the sequencer")
		require.Equal(t, at, b.Applied(), "no way to the sequencer")
		n.Heal()
		n.WaitApplied(seq.Applied(), 2*time.Minute)
		n.SameRoots(at)
	})
}

// A dead static peer does not keep a node from what DA has.
func TestDeadPeerBesideLiveDA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Sequencer().WaitFinal(10, time.Minute)
		start := time.Now()
		full := n.Full(testnet.DeadPeer())
		full.WaitApplied(1, time.Second)
		require.Less(t, time.Since(start), time.Second)
		full.WaitFinal(10, 10*time.Second)
	})
}

// A dead DA layer does not keep a node from what its peers have.
func TestDeadDABesideLivePeer(t *testing.T) {
	for _, outage := range []da.Outage{da.OutageRefuse, da.OutageHang} {
		t.Run(string(outage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				allowDATrouble(n)
				seq := n.Sequencer()
				seq.WaitApplied(10, time.Minute)
				require.NoError(t, n.DA.SetOutage(outage))
				start := time.Now()
				full := n.Full()
				full.WaitApplied(1, time.Second)
				require.Less(t, time.Since(start), time.Second)
				full.WaitApplied(seq.Applied(), time.Second)
			})
		})
	}
}

// With both sources dead at its start a node applies its first block within a
// second of either coming to life.
func TestSourceComesToLife(t *testing.T) {
	t.Run("da", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t)
			allowDATrouble(n)
			n.Sequencer().WaitFinal(10, time.Minute)
			full := n.Full(testnet.DeadPeer(), testnet.Stopped())
			full.CutDA()
			full.Start()
			time.Sleep(10 * time.Minute)
			require.Zero(t, full.Applied())
			full.RestoreDA()
			full.WaitApplied(1, time.Second+n.DATime())
		})
	})
	t.Run("p2p", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t)
			allowDATrouble(n)
			seq := n.Sequencer()
			seq.WaitFinal(10, time.Minute)
			full := n.Full(testnet.Stopped())
			full.CutDA()
			seq.Stop()
			full.Start()
			time.Sleep(10 * time.Minute)
			require.Zero(t, full.Applied())
			seq.Start(testnet.Peers(full)) // it dials
			full.WaitApplied(1, time.Second)
		})
	})
}

// An idle lazy chain wakes nobody: what the syncer does is in proportion to the
// blocks, not to the time.
func TestLazyChainIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Lazy(10*time.Minute), testnet.DATime(6*time.Second))
		seq, full := n.Sequencer(), n.Full()
		both := []*testnet.Node{seq, full}
		full.WaitApplied(1, time.Minute)
		time.Sleep(time.Minute)
		var before [2]uint64
		for i, x := range both {
			before[i] = x.Syncer.Stats().Wakeups
		}
		applied := full.Applied()
		time.Sleep(time.Hour)
		made := full.Applied() - applied
		require.EqualValues(t, 6, made, "one block per interval")
		for i, x := range both {
			woken := x.Syncer.Stats().Wakeups - before[i]
			t.Logf("%s: %d wake-ups of the syncer for %d blocks in an hour", x.Name(), woken, made)
			require.LessOrEqual(t, woken, 2*made, "at most one for the header and one for the data")
		}
		seq.Put("k", "v")
		full.WaitGet("k", "v", 2*time.Second)
	})
}

// A peer that died without a word stays connected for half a minute. It does not
// hold up what another peer has.
func TestSilentPeerDoesNotHoldUpCatchUp(t *testing.T) {
	for i := range 5 { // whom to ask is up to chance
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				n.Logs.Allow("dropping a head nobody can prove")
				seq := n.Sequencer(testnet.Name("seq"))
				relay := n.Full(testnet.Name("relay"), testnet.NoDA())
				full := n.Full(testnet.Name("full"), testnet.NoDA())
				n.WaitApplied(5, 10*time.Second)
				n.Cut(seq, full)
				n.Cut(seq, relay)
				time.Sleep(time.Minute)
				relay.Crash()
				head := seq.Applied()
				n.Heal()
				full.WaitConnected(seq, time.Minute)
				full.WaitApplied(head, time.Second)
			})
		})
	}
}
