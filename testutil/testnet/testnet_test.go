package testnet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/testutil/testnet"
)

// Every combination of sources leads to the same chain and state.
func TestAllSourcesReachTheSameRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer()
		both := n.Full(testnet.Name("both"))
		p2pOnly := n.Full(testnet.Name("p2p-only"), testnet.NoDA())
		daOnly := n.Full(testnet.Name("da-only"), testnet.NoP2P())
		seq.Put("k", "v")
		for _, x := range []*testnet.Node{both, p2pOnly, daOnly} {
			x.WaitGet("k", "v", 10*time.Second)
		}
		n.WaitApplied(20, time.Minute)
		n.SameRoots(20)
		n.WaitFinal(20, time.Minute)
		require.Zero(t, p2pOnly.Final(), "nothing is final without DA")
	})
}

// A follower over P2P is one hop behind the sequencer.
func TestGossipIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Latency(5*time.Millisecond))
		seq, full := n.Sequencer(), n.Full()
		full.WaitApplied(3, 10*time.Second)
		for height := uint64(4); height < 10; height++ {
			seq.WaitApplied(height, 2*time.Second)
			made := time.Now()
			full.WaitApplied(height, time.Second)
			require.LessOrEqual(t, time.Since(made), 10*time.Millisecond, "block %d", height)
		}
	})
}

// A light node follows headers by P2P, and their finality by DA.
func TestLightNodeFollowsHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer()
		light := n.Light()
		alone := n.Light(testnet.Name("da-only"), testnet.NoP2P())
		seq.Put("k", "v")
		n.WaitApplied(10, time.Minute)
		n.WaitFinal(10, time.Minute)
		n.SameRoots(10)
		require.Nil(t, light.Executor)
		require.Zero(t, light.Store.Data().Height(), "no data is kept")
		require.Equal(t, seq.Header(10).Digest(), alone.Header(10).Digest())
	})
}

// Blocks of many transactions, several per DA block, reach everybody.
func TestBurst(t *testing.T) {
	const keys = 2000
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.BlockTime(100*time.Millisecond))
		seq := n.Sequencer()
		n.Full(testnet.Name("both"))
		n.Full(testnet.Name("da-only"), testnet.NoP2P())
		for i := range keys {
			seq.Put(key(i), "v")
		}
		seq.WaitGet(key(keys-1), "v", 10*time.Second)
		height := seq.Applied()
		n.WaitApplied(height+100, time.Minute)
		n.WaitFinal(height+100, time.Minute)
		n.SameRoots(height)
		for _, x := range n.Nodes() {
			for i := range keys {
				v, _ := x.Get(key(i))
				require.Equal(t, "v", v, "%s on %s", key(i), x.Name())
			}
		}
	})
}

func key(i int) string { return "key" + string(rune('a'+i%26)) + time.Duration(i).String() }

// Late joiners catch up from either source while the chain goes on.
func TestLateJoiners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer()
		seq.Put("early", "1")
		seq.WaitFinal(300, 10*time.Minute)
		start := time.Now()
		for _, x := range []*testnet.Node{
			n.Full(testnet.Name("p2p-only"), testnet.NoDA()), n.Full(testnet.Name("da-only"), testnet.NoP2P()),
			n.Full(testnet.Name("both")), n.Light(),
		} {
			x.WaitApplied(300, 5*time.Second)
		}
		require.Less(t, time.Since(start), 5*time.Second)
		n.WaitApplied(310, time.Minute)
		n.SameRoots(310)
	})
}
