package testnet_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/testutil/powerdisk"
	"github.com/tandem-node/tandem/testutil/testnet"
)

var (
	powerRuns = flag.Int("power.runs", 10, "power cuts to simulate")
	powerSeed = flag.Uint64("power.seed", 1, "seed of the first one")
)

// TestPowerCuts takes the power from nodes in all that they do, by seed: it is cut
// at any operation of their disk, also while they start again. They start without
// help, nothing that was on the disk is lost, nobody hears two headers of a height,
// and in the end everybody has the same chain. 'make powercuts' runs many; a failure
// names its seed.
func TestPowerCuts(t *testing.T) {
	if testing.Short() {
		*powerRuns = 5
	}
	bySeed(t, "powercuts", *powerSeed, *powerRuns, func(t *testing.T, seed uint64) {
		t.Helper()
		newPowerCut(t, seed).run()
	})
}

// powerCut is one random world of TestPowerCuts.
type powerCut struct {
	t    *testing.T
	n    *testnet.Net
	rand *rand.Rand
	seed uint64
	mode powerdisk.Mode
	txs  int
}

func newPowerCut(t *testing.T, seed uint64) *powerCut {
	t.Helper()
	return &powerCut{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 7)), mode: powerdisk.Mode(seed / 5 % 2)}
}

func (c *powerCut) run() {
	switch c.seed % 5 {
	case 0:
		c.sequencer()
	case 1:
		c.follower()
	case 2:
		c.catchUp()
	case 3:
		c.followDA()
	case 4:
		c.forced()
	}
}

func (c *powerCut) net(opts ...testnet.Option) {
	// Executors keep little, so that a rollback may go further back than they can.
	little := testnet.Config(func(cfg *app.Config) { cfg.Execution.KeepVersions, cfg.Execution.KeepUnfinal = 8, 16 })
	c.n = testnet.New(c.t, append(opts, little)...)
	allowDATrouble(c.n)
	c.n.Logs.Allow("executor is ahead, rolling back", "executor is reset, all blocks are executed again",
		"journal cut behind the last synced record, a power cut had left a hole", "dropping a head nobody can prove",
		"syncing failed, trying again", "final height not advanced, will try again", "finishing a rollback that was cut short",
		"a block was lost with the machine before its signature was given out, it is made anew")
}

func (c *powerCut) powered() testnet.NodeOption { return testnet.Powered(c.rand.Uint64(), c.mode) }

// after draws the operations until the next cut, few or many.
func (c *powerCut) after() int { return 1 + c.rand.IntN(600>>c.rand.IntN(7)) }

// suffer cuts the power of a node some times, and waits for each cut.
func (c *powerCut) suffer(x *testnet.Node, cuts int) {
	c.t.Helper()
	for range cuts {
		x.CutPowerAfter(c.after())
		for range 60 {
			c.put()
			time.Sleep(time.Duration(c.rand.Int64N(int64(time.Second))))
			if x.PowerOff() {
				break
			}
		}
		applied := uint64(0)
		if x.Running() {
			applied = x.Applied()
		}
		time.Sleep(time.Duration(c.rand.Int64N(int64(20 * time.Second))))
		for up := false; !up; {
			cut := 0
			if c.rand.IntN(3) == 0 {
				cut = c.after()
			}
			up = x.PowerUp(cut)
		}
		if x.Producer != nil {
			// The newest block may be on the disk as the pending one only; it is made
			// again, byte for byte, which signatures and followers check.
			require.GreaterOrEqual(c.t, x.Applied()+1, applied, "a block that was on the disk is lost")
		}
	}
	if x.PowerOff() {
		x.PowerUp(0)
	}
	x.CutPowerAfter(0)
}

// put writes something, or not.
func (c *powerCut) put() {
	seq := c.n.Nodes()[0]
	if !seq.Running() || seq.Producer == nil || c.rand.IntN(3) > 0 {
		return
	}
	c.txs++
	seq.Put(fmt.Sprintf("k%d", c.rand.IntN(9)), fmt.Sprintf("v%d", c.txs))
}

// agree waits until all have the newest block, on DA too.
func (c *powerCut) agree() {
	c.t.Helper()
	head := c.n.Nodes()[0].Applied() + 3
	c.n.WaitApplied(head, patience)
	c.n.WaitFinal(head, patience)
	c.n.SameRoots(head)
	c.t.Logf("%d blocks, %d transactions", head, c.txs)
}

func (c *powerCut) sequencer() {
	c.net()
	seq := c.n.Sequencer(testnet.Name("seq"), c.powered(), testnet.Stopped())
	for cut := c.after(); !seq.PowerUp(cut); { // also the first start of all
		cut = 0
	}
	c.n.Full(testnet.Name("full"))
	c.n.Full(testnet.Name("da"), testnet.NoP2P())
	c.suffer(seq, 4)
	c.agree()
}

func (c *powerCut) follower() {
	c.net()
	c.n.Sequencer(testnet.Name("seq"))
	full := c.n.Full(testnet.Name("full"), c.powered())
	light := c.n.Light(testnet.Name("light"), c.powered())
	c.suffer(full, 3)
	c.suffer(light, 2)
	c.agree()
}

func (c *powerCut) catchUp() {
	c.net()
	seq := c.n.Sequencer(testnet.Name("seq"))
	for range 60 {
		c.put()
		time.Sleep(time.Second)
	}
	kind := []testnet.NodeOption{testnet.NoDA(), testnet.NoP2P(), testnet.Peers(seq)}[c.rand.IntN(3)]
	late := c.n.Full(testnet.Name("late"), c.powered(), kind, testnet.Stopped())
	for range 5 {
		late.PowerUp(c.after())
		time.Sleep(time.Duration(c.rand.Int64N(int64(4 * time.Second))))
	}
	late.PowerUp(0)
	c.agree()
}

// followDA: peers tell a follower one story, DA another, and its power fails while
// it rolls back.
func (c *powerCut) followDA() {
	c.net()
	c.n.AllowDoubleSigning()
	allowTwoStories(c.n)
	allowRollback(c.n)
	c.n.Logs.Allow("worker failed, the node stops") // who told peers the other story hears of it
	peers := c.n.Sequencer(testnet.Name("peers"), testnet.Unchecked())
	peers.CutDA()
	full := c.n.Full(testnet.Name("full"), testnet.Peers(peers), c.powered())
	full.CutDA()
	peers.Put("k", "p2p")
	full.WaitGet("k", "p2p", 10*time.Second)
	full.WaitApplied(uint64(3+c.rand.IntN(30)), time.Minute)
	onDA := c.n.Sequencer(testnet.Name("onDA"), testnet.NoP2P())
	onDA.Put("k", "da")
	onDA.WaitGet("k", "da", time.Minute)
	time.Sleep(time.Duration(c.rand.Int64N(int64(30 * time.Second))))
	full.CutPowerAfter(1 + c.rand.IntN(60))
	full.RestoreDA()
	for range 5 {
		time.Sleep(time.Duration(c.rand.Int64N(int64(10 * time.Second))))
		if full.PowerOff() {
			full.PowerUp(1 + c.rand.IntN(200))
		}
	}
	full.PowerUp(0)
	full.WaitGet("k", "da", patience)
	peers.Stop()
	c.n.WaitFinal(onDA.Applied(), patience)
	c.n.SameRoots(onDA.Final())
}

func (c *powerCut) forced() {
	c.net(testnet.Forced(3))
	c.n.Logs.Allow("forced transactions cannot be read, going on without", "block not broadcast")
	seq := c.n.Sequencer(testnet.Name("seq"), c.powered())
	full := c.n.Full(testnet.Name("full"), c.powered())
	full.WaitFinal(2, time.Minute)
	var forced []string
	for i, x := range []*testnet.Node{seq, full, seq} {
		tx := fmt.Sprintf("forced%d=yes", i)
		forced = append(forced, tx)
		c.n.Force(tx)
		c.suffer(x, 1)
	}
	for i := range forced {
		full.WaitGet(fmt.Sprintf("forced%d", i), "yes", patience)
	}
	forcedGone(c.t, full, patience)
	c.agree()
	for _, tx := range forced {
		require.Equal(c.t, 1, count(full, tx), tx)
	}
}
