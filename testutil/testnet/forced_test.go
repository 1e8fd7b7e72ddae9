package testnet_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/forced"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// count returns how often a transaction is in the chain of a node.
func count(x *testnet.Node, tx string) int {
	n := 0
	for height := uint64(1); height <= x.Applied(); height++ {
		d, err := x.Data.GetByHeight(context.Background(), height)
		if err != nil {
			return -1
		}
		for _, have := range d.Txs {
			if string(have) == tx {
				n++
			}
		}
	}
	return n
}

// forcedGone waits until nothing is left to be found in final blocks.
func forcedGone(t *testing.T, x *testnet.Node, within time.Duration) {
	t.Helper()
	testutil.AwaitElse(t, within, func() <-chan time.Time { return time.After(time.Second) }, func() bool {
		s := x.Status().Forced
		return s != nil && s.Waiting == 0 && s.Strikes == 0
	}, func() string { return fmt.Sprintf("%s still waits: %+v", x.Name(), x.Status().Forced) })
}

// T3: an honest sequencer takes what is forced, once, at the front and in DA order;
// nobody accuses it, whatever source the block came from, also after a restart.
func TestT3_ForcedThenRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Forced(5))
		seq := n.Sequencer(testnet.Name("seq"))
		both := n.Full(testnet.Name("both"))
		onDA := n.Full(testnet.Name("da"), testnet.NoP2P())
		peers := n.Full(testnet.Name("peers"), testnet.NoDA())
		followers := []*testnet.Node{both, onDA, peers}
		both.WaitFinal(3, time.Minute)
		n.Force("first=1", "second=2", "no write")
		n.Force("third=3")
		seq.Put("own", "mempool")
		for _, x := range followers {
			x.WaitGet("third", "3", time.Minute)
		}
		var inOrder []string
		for at := uint64(1); at <= both.Applied(); at++ {
			for i, tx := range dataAt(t, both, at).Txs {
				if string(tx) != "own=mempool" {
					inOrder = append(inOrder, string(tx))
					continue
				}
				require.Len(t, dataAt(t, both, at).Txs, i+1, "what is forced comes first")
			}
		}
		require.Equal(t, []string{"first=1", "second=2", "third=3"}, inOrder)

		for _, x := range append(followers, seq) {
			x.Restart()
		}
		forcedGone(t, both, time.Minute)
		forcedGone(t, onDA, time.Minute)
		time.Sleep(2 * time.Minute) // far beyond the grace: nobody halts
		n.WaitApplied(both.Applied()+3, time.Minute)
		for _, tx := range []string{"first=1", "second=2", "third=3"} {
			require.Equal(t, 1, count(both, tx), tx)
		}
		require.Zero(t, count(both, "no write"), "not one to the executor")
		require.Equal(t, 1, count(both, "own=mempool"))
		// Somebody who comes later does not accuse it either.
		late := n.Full(testnet.Name("late"), testnet.NoP2P())
		late.WaitFinal(both.Final(), time.Minute)
		forcedGone(t, late, time.Minute)
		n.SameRoots(both.Final())
	})
}

// accused waits until a node has stopped following since the sequencer censors.
func accused(t *testing.T, x *testnet.Node, within time.Duration) {
	t.Helper()
	testutil.Await(t, within, func() <-chan time.Time { return time.After(time.Second) }, func() bool {
		return strings.Contains(x.Status().Forced.Error, "sequencer censors")
	})
}

func dataAt(t *testing.T, x *testnet.Node, height uint64) *block.Data {
	t.Helper()
	d, err := x.Data.GetByHeight(t.Context(), height)
	require.NoError(t, err)
	return d
}

// The sequencer dies in the middle of an epoch, with a block half done and with more
// forced than one block holds: nothing is lost, nothing comes twice, and block
// time never goes back.
func TestForcedSequencerCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Forced(5), testnet.BlockTime(300*time.Millisecond),
			testnet.Config(func(c *app.Config) { c.Sequencer.MaxBlockBytes = 64 }))
		n.Logs.Allow("executor is ahead, rolling back", "reading from da fails; retrying", "worker failed, the node stops",
			"nothing can be posted to the DA layer, trying again", "forced transactions cannot be read, going on without",
			"syncing failed, trying again", "block not broadcast")
		seq := n.Sequencer(testnet.Name("seq"))
		full := n.Full(testnet.Name("full"))
		full.WaitFinal(3, time.Minute)
		var txs []string
		for i := range 24 {
			txs = append(txs, fmt.Sprintf("key-%02d=value", i))
		}
		n.Force(txs...)
		for i := range 8 {
			hold := seq.Probe.HoldBefore
			if i%2 == 0 {
				hold = seq.Probe.HoldAfter
			}
			<-hold(seq.Applied() + uint64(4+i))
			seq.Crash()
			seq.Start()
		}
		full.WaitGet("key-23", "value", 2*time.Minute)
		forcedGone(t, full, 2*time.Minute)
		n.WaitFinal(full.Applied(), time.Minute)
		var got []string
		for height := uint64(2); height <= full.Applied(); height++ {
			require.False(t, full.Header(height).Time().Before(full.Header(height-1).Time()), "block time goes backwards at %d", height)
			for _, tx := range dataAt(t, full, height).Txs {
				got = append(got, string(tx))
			}
		}
		require.Equal(t, txs, got)
	})
}

// A sequencer that was away for epochs takes what it missed before anything else.
func TestForcedCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Forced(3))
		seq := n.Sequencer(testnet.Name("seq"))
		full := n.Full(testnet.Name("full"))
		full.WaitFinal(3, time.Minute)
		seq.Stop()
		n.Force("missed=1")
		time.Sleep(time.Minute)
		n.Force("missed=2")
		time.Sleep(time.Minute)
		seq.Start()
		seq.Put("own", "later")
		full.WaitGet("own", "later", time.Minute)
		v, _ := full.Get("missed")
		require.Equal(t, "2", v)
		forcedGone(t, full, time.Minute)
		testutil.Await(t, time.Minute, seq.Pipeline.Changed, func() bool { return !seq.Status().Forced.CatchUp })
	})
}

// While its way to DA is cut the sequencer goes on with its mempool; it is not
// accused for that time, and takes what was forced when it is back.
func TestForcedWhileDAIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Forced(3))
		n.Logs.Allow("reading from da fails; retrying", "nothing can be posted to the DA layer, trying again",
			"forced transactions cannot be read, going on without")
		seq := n.Sequencer(testnet.Name("seq"))
		full := n.Full(testnet.Name("full"))
		full.WaitFinal(3, time.Minute)
		seq.CutDA()
		n.Force("forced=1")
		seq.Put("own", "mempool")
		full.WaitGet("own", "mempool", time.Minute)
		time.Sleep(2 * time.Minute) // twenty epochs
		require.True(t, full.Running())
		seq.RestoreDA()
		full.WaitGet("forced", "1", time.Minute)
		forcedGone(t, full, 2*time.Minute)
	})
}

// A sequencer that leaves forced transactions out is found out by all that read DA.
// They keep the evidence, apply nothing more and go on serving, alive and unready
// for that reason, also after a restart, until DA holds a block that takes what was
// left out. One that was told to halt ends once. Those that were told to warn
// follow the chain all the same.
func TestForcedCensor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Forced(3))
		n.Logs.Allow("sequencer censors: a forced transaction is in no block", "syncing failed, trying again",
			"the sequencer has taken a forced transaction it had left out, the chain goes on")
		var honest atomic.Bool
		censor := fx.Decorate(func(f sequencer.Forced) sequencer.Forced {
			if honest.Load() {
				return f
			}
			return sequencer.NoForced{}
		})
		policy := func(p forced.Policy) testnet.NodeOption {
			return testnet.Change(func(c *app.Config) { c.Forced.Policy = p })
		}
		seq := n.Sequencer(testnet.Name("seq"), testnet.Inside(censor))
		both := n.Full(testnet.Name("both"))
		onDA := n.Full(testnet.Name("da"), testnet.NoP2P())
		halts := n.Full(testnet.Name("halts"), policy(forced.PolicyHalt))
		warn := n.Full(testnet.Name("warn"), policy(forced.PolicyWarn))
		warn.WaitFinal(3, time.Minute)
		n.Force("unwanted=1")
		n.Logs.Allow("worker failed, the node stops")
		accused(t, halts, 2*time.Minute)
		halts.Stop()
		accused(t, both, 2*time.Minute)
		accused(t, onDA, 2*time.Minute)
		warn.WaitFinal(warn.Final()+20, 2*time.Minute)
		require.Equal(t, uint64(1), warn.Status().Forced.Censored)
		require.Contains(t, warn.Status().Forced.Last, "sequencer censors")
		require.True(t, warn.API.Node.Ready(t.Context()).Ready)

		halts.Start()
		stood := map[*testnet.Node]uint64{both: both.Applied(), onDA: onDA.Applied(), halts: halts.Applied()}
		for i := range 2 { // a restart does not forget
			time.Sleep(5 * time.Minute)
			for x, applied := range stood {
				require.True(t, x.Running(), x.Name())
				require.Equal(t, applied, x.Applied(), x.Name())
				require.NoError(t, live(x), x.Name())
				r := x.API.Node.Ready(t.Context())
				require.False(t, r.Ready)
				require.Contains(t, r.Reason, "sequencer censors: transaction "+block.Sum([]byte("unwanted=1")).String())
				require.Contains(t, x.Status().WaitingFor, "namespaces.forced, execution.name")
				proofs := x.Evidence()
				require.Len(t, proofs, 1, x.Name())
				require.NoError(t, proofs[0].Verify(n.Genesis))
				require.Equal(t, block.ErrForcedLeftOut, proofs[0].Refuted.Rule)
				if i == 0 {
					x.Restart()
				}
			}
		}

		honest.Store(true)
		seq.Restart()
		for x, applied := range stood {
			x.WaitGet("unwanted", "1", 2*time.Minute)
			x.WaitFinal(applied+20, 2*time.Minute)
			forcedGone(t, x, time.Minute)
			require.True(t, x.API.Node.Ready(t.Context()).Ready, x.Name())
		}
		n.SameRoots(both.Final())
	})
}

// Rotation and forced transactions: who takes over knows what was taken.
func TestForcedAcrossRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t, testnet.Forced(3), testnet.Config(func(c *app.Config) { c.Sequencer.MaxBlockBytes = 32 }))
		n.Logs.Allow("syncing failed, trying again")
		a := n.Sequencer(testnet.Name("a"), testnet.Rotating())
		b := n.Sequencer(testnet.Name("b"), testnet.Rotating(), testnet.Key("second"))
		full := n.Full(testnet.Name("full"), testnet.Rotating())
		full.WaitFinal(3, time.Minute)
		n.Force("one=1", "two=2", "proposer="+hex.EncodeToString(testnet.ProposerAddress("second")), "three=3", "four=4")
		full.WaitGet("four", "4", time.Minute)
		require.Equal(t, testnet.ProposerAddress("second"), full.Header(full.Applied()).Header.ProposerAddress)
		time.Sleep(time.Minute)
		for _, tx := range []string{"one=1", "two=2", "three=3", "four=4"} {
			require.Equal(t, 1, count(full, tx), tx)
		}
		require.Zero(t, b.Status().Forced.Waiting)
		require.Contains(t, a.Producer.Stats().WaitingFor, "its turn")
		forcedGone(t, full, time.Minute)
	})
}
