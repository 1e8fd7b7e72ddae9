package testnet_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/testutil/testnet"
)

// A follower that is killed anywhere in a block goes on where it was.
func TestFollowerCrashes(t *testing.T) {
	for name, where := range map[string]func(*testnet.Probe, uint64) <-chan struct{}{
		"before execution": (*testnet.Probe).HoldBefore,
		"before commit":    (*testnet.Probe).HoldAfter,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				seq, full := n.Sequencer(), n.Full()
				full.WaitApplied(5, 10*time.Second)
				seq.Put("k", "v")
				<-where(full.Probe, 8)
				full.Crash()
				seq.WaitApplied(12, 10*time.Second)
				full.Start()
				full.WaitGet("k", "v", time.Second)
				n.WaitApplied(20, 20*time.Second)
				n.SameRoots(20)
				n.WaitFinal(20, 20*time.Second)
			})
		})
	}
}

// A sequencer that is killed anywhere in a block continues its chain and signs
// nothing twice. (The signer of testnet remembers everything that was signed.)
func TestSequencerCrashes(t *testing.T) {
	for name, where := range map[string]func(*testnet.Probe, uint64) <-chan struct{}{
		"before execution": (*testnet.Probe).HoldBefore,
		"before commit":    (*testnet.Probe).HoldAfter,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				n.Logs.Allow("executor is ahead, rolling back")
				seq, full := n.Sequencer(), n.Full()
				full.WaitApplied(5, 10*time.Second)
				for height := uint64(8); height < 12; height++ {
					held := where(seq.Probe, height)
					seq.Put("k", name+string(rune('0'+height)))
					<-held
					seq.Crash()
					require.Less(t, full.Applied(), height, "nobody saw the block that was begun")
					seq.Start()
				}
				n.WaitApplied(20, time.Minute)
				n.SameRoots(20)
				n.WaitFinal(20, time.Minute)
			})
		})
	}
}

// Killed between two blocks, with blocks not yet on DA, the sequencer posts what
// it had not posted, and followers on DA alone see no gap.
func TestSequencerCrashesBetweenBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq := n.Sequencer()
		n.Full(testnet.Name("p2p-only"), testnet.NoDA())
		n.Full(testnet.Name("da-only"), testnet.NoP2P())
		for height := uint64(3); height < 40; height += 5 {
			seq.WaitApplied(height, time.Minute)
			seq.Put("k", time.Duration(height).String())
			seq.Crash()
			time.Sleep(time.Duration(height) * 100 * time.Millisecond)
			seq.Start()
		}
		n.WaitApplied(50, time.Minute)
		n.WaitFinal(50, time.Minute)
		n.SameRoots(50)
	})
}

// Restarted beside silent sources, a follower applies what its stores already
// hold: no event will come, so it must not wait for one.
func TestRestartAheadOfApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Logs.Allow("syncing failed, trying again")
		seq, full := n.Sequencer(), n.Full()
		full.WaitApplied(5, 10*time.Second)
		full.Probe.FailFrom(6)
		seq.Put("k", "v")
		full.WaitHeaders(30, time.Minute)
		require.EqualValues(t, 5, full.Applied())
		full.Crash()
		head := full.Headers.Height()
		seq.Stop()
		require.NoError(t, n.DA.SetOutage("hang"))
		full.Start()
		start := time.Now()
		full.WaitApplied(head, time.Second)
		require.Less(t, time.Since(start), time.Second)
		full.WaitGet("k", "v", 0)
	})
}

// Everything stops, in either way, and everything starts again.
func TestRestartOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Sequencer()
		n.Full()
		n.Full(testnet.Name("da-only"), testnet.NoP2P())
		n.Light()
		for round := range uint64(4) {
			n.WaitApplied(10*(round+1), time.Minute)
			for _, x := range n.Nodes() {
				if round%2 == 0 {
					x.Stop()
				} else {
					x.Crash()
				}
			}
			time.Sleep(time.Hour)
			for _, x := range n.Nodes() {
				x.Start()
			}
		}
		n.WaitApplied(60, time.Minute)
		n.WaitFinal(60, time.Minute)
		n.SameRoots(60)
	})
}

// A follower without DA finds a sequencer that was killed and came back as soon
// as its first packet shows that the connection is gone.
func TestFollowerFindsRestartedSequencer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		seq, full := n.Sequencer(), n.Full(testnet.NoDA())
		full.WaitApplied(5, 10*time.Second)
		seq.Crash()
		seq.Start()
		start := time.Now()
		seq.Put("k", "v")
		full.WaitGet("k", "v", 30*time.Second)
		t.Logf("found again after %s", time.Since(start))
	})
}

// A follower that was killed and is back before its peers have noticed gets gossip
// again. Its old connections look alive for half a minute, and pubsub forgets what
// a peer subscribed to when one of several connections to it ends.
func TestRestartedFollowerHearsGossip(t *testing.T) {
	for _, age := range []uint64{1, 2, 5, 12} { // of the connection, in seconds
		t.Run(strconv.FormatUint(age, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				seq, full := n.Sequencer(), n.Full(testnet.NoDA())
				n.WaitApplied(age+1, time.Minute)
				time.Sleep(77 * time.Millisecond)
				full.Crash()
				full.Start()
				full.WaitApplied(seq.Applied()+3, 4*time.Second)
				for range 40 { // when the old connection ends nothing changes
					head := seq.Applied() + 1
					seq.WaitApplied(head, 2*time.Second)
					full.WaitApplied(head, time.Second)
				}
			})
		})
	}
}
