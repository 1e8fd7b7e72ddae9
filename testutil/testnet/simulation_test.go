package testnet_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/hostile"
	"github.com/tandem-node/tandem/testutil/testnet"
)

var (
	runs = flag.Int("sim.runs", 12, "random schedules to run")
	seed = flag.Uint64("sim.seed", 1, "seed of the first schedule")
)

// schedule is one random world: a chain, five followers of all kinds, somebody
// hostile on each source, and trouble. All of it follows from the seed; how
// goroutines take turns does not.
type schedule struct {
	t       *testing.T
	n       *testnet.Net
	config  app.Config
	rand    *rand.Rand
	seed    uint64
	seq     *testnet.Node // the one whose chain is on DA
	txs     int
	peer    *hostile.Peer
	poster  *hostile.Poster
	forger  *hostile.Forger
	attacks int
	twice   bool // DA has a second header of a height
}

// TestSimulation makes random trouble, and attacks, by seed. Once an honest source
// is back everybody reaches the same chain within a bound, while the attacks go on,
// and the invariants hold. 'make simulate' runs many; a failure names its seed.
func TestSimulation(t *testing.T) {
	if testing.Short() {
		*runs = 2
	}
	for i := range uint64(*runs) {
		t.Run(fmt.Sprintf("seed %d", *seed+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, *seed+i) })
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again: make simulate SEED=%d SEEDS=1", seed)
		}
	})
	s := &schedule{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0))}
	s.n = testnet.New(t, s.options()...)
	s.config = s.n.Config()
	allowDATrouble(s.n)
	s.n.Logs.Allow("executor is ahead, rolling back", "dropping a head nobody can prove", "peer sent a bad item",
		"syncing failed, trying again", "final height not advanced, will try again",
		"the proposer signed two headers for one height", "header on da differs from the stored one")
	s.poster, s.forger = s.n.Poster(), hostile.NewForger(s.n.Genesis, seed)
	if seed%8 == 0 {
		s.twoStories()
		return
	}
	s.oneStory()
}

// options draws what the chain is like.
func (s *schedule) options() []testnet.Option {
	pick := func(ds ...time.Duration) time.Duration { return ds[s.rand.IntN(len(ds))] }
	out := []testnet.Option{
		testnet.BlockTime(pick(300*time.Millisecond, time.Second, time.Second, 2*time.Second)),
		testnet.DATime(pick(time.Second, 2*time.Second, 4*time.Second)),
		testnet.Latency(pick(time.Millisecond, 5*time.Millisecond, 50*time.Millisecond)),
	}
	if s.rand.IntN(6) == 0 {
		out = append(out, testnet.Lazy(5*time.Second))
	}
	if s.rand.IntN(2) == 0 { // hardly room for anything
		out = append(out, testnet.Config(func(c *app.Config) {
			c.Exchange.ParkHeights, c.Exchange.ParkBytes, c.Exchange.QueueBytes = 8, 64<<10, 256<<10
			c.DAWorker.InFlight, c.DAWorker.MaxInFlight = 2, 4
			c.Syncer.MaxBlocks, c.Syncer.EventBuffer = 3, 1
			c.Pipeline.GroupBlocks = 2
		}))
	}
	return out
}

// oneStory: the proposer is honest; everything else is not, or fails.
func (s *schedule) oneStory() {
	s.seq = s.n.Sequencer(testnet.Name("seq"), testnet.Tripwire())
	s.n.Full(testnet.Name("both"), testnet.Tripwire())
	s.n.Full(testnet.Name("p2p-only"), testnet.NoDA(), testnet.Tripwire())
	s.n.Full(testnet.Name("da-only"), testnet.NoP2P(), testnet.Tripwire())
	s.n.Light(testnet.Name("light"), testnet.Tripwire())
	s.peer = s.n.Hostile()
	for range 14 {
		s.step()
		s.pass()
	}
	if s.rand.IntN(2) == 0 {
		s.oneSourceIsBack()
	}
	s.repair()
	s.settle()
	head := s.seq.Applied()
	s.n.WaitApplied(head, patience)
	s.n.WaitFinal(head, patience)
	s.n.SameRoots(head)
	s.checkEvidence()
	s.t.Logf("%d blocks, %d transactions, %d attacks", head, s.txs, s.attacks)
}

// patience is the bound within which everybody gets there once one honest source is
// back: the longest back-off of a dial, and then some. Virtual.
const patience = 2 * time.Minute

// pass lets a moment pass, with transactions or without.
func (s *schedule) pass() {
	if s.rand.IntN(3) == 0 {
		s.put()
	}
	time.Sleep(time.Duration(s.rand.Int64N(int64(6 * time.Second))))
	s.checkBytes()
}

func (s *schedule) say(format string, args ...any) {
	s.n.Logs.Logger().Named("schedule").Info(fmt.Sprintf(format, args...))
}

// step does one thing to the world.
func (s *schedule) step() {
	nodes := s.n.Nodes()
	x, y := nodes[s.rand.IntN(len(nodes))], nodes[s.rand.IntN(len(nodes))]
	switch op := s.rand.IntN(24); op {
	case 0, 1:
		s.say("%s down, killed: %t", x.Name(), op == 0)
		s.down(x, op == 0)
	case 2, 3:
		s.say("%s up", x.Name())
		s.up(x)
	case 4:
		s.say("%s killed and up at once", x.Name())
		s.down(x, true)
		s.up(x)
	case 5, 6, 7:
		calls := 1 + s.rand.IntN(40)
		s.say("%s dies at the %dth call of its stores or executor", x.Name(), calls)
		s.up(x)
		x.CrashAtCall(calls)
	case 8:
		s.say("%s and %s are cut off from each other", x.Name(), y.Name())
		s.n.Cut(x, y)
	case 9:
		s.say("links are back")
		s.n.Heal()
	case 10:
		s.say("%s is cut off from DA", x.Name())
		x.CutDA()
	case 11:
		s.say("%s reaches DA again", x.Name())
		x.RestoreDA()
	case 12, 13:
		s.outage([]da.Outage{da.OutageRefuse, da.OutageHang, da.OutageNone, da.OutageNone}[s.rand.IntN(4)])
	case 14:
		s.say("a submission's answer is lost")
		s.n.DA.Fail(da.Failure{Method: "blob.Submit", Next: 1, LoseReply: true})
	case 15, 16:
		s.noise(x)
	case 17:
		d := time.Duration(s.rand.Int64N(int64(2 * time.Second)))
		s.say("executions of %s take %s", x.Name(), d)
		if x.Running() && x.Probe != nil {
			x.Probe.Slow(d)
		}
	case 18:
		s.put()
	default:
		s.attack()
	}
}

func (s *schedule) outage(o da.Outage) {
	s.say("DA outage: %s", o)
	require.NoError(s.t, s.n.DA.SetOutage(o))
}

// noise makes one of the sources unreliable, or reliable again.
func (s *schedule) noise(x *testnet.Node) {
	noise := testnet.Noise{}
	if s.rand.IntN(3) > 0 {
		noise = testnet.Noise{Drop: s.rand.Float64() / 10, Duplicate: s.rand.Float64() / 5, Delay: time.Duration(s.rand.Int64N(int64(300 * time.Millisecond)))}
	}
	if s.rand.IntN(2) == 0 {
		s.say("links have noise %+v", noise)
		s.n.P2PNoise(noise, s.rand.Uint64())
		return
	}
	noise.Delay *= 10
	s.say("DA of %s has noise %+v", x.Name(), noise)
	x.DANoise(noise, s.rand.Uint64())
}

func (s *schedule) down(x *testnet.Node, kill bool) {
	switch {
	case !x.Running():
	case kill || x.Dead():
		x.Crash()
	default:
		x.Stop()
	}
}

func (s *schedule) up(x *testnet.Node) {
	if x.Dead() && x.Running() {
		x.Crash()
	}
	if !x.Running() {
		x.Start()
	}
}

// put sends transactions, mostly small ones, at times none for long.
func (s *schedule) put() {
	if !s.seq.Running() || s.seq.Dead() {
		return
	}
	for range s.rand.IntN(20) {
		s.txs++
		s.seq.Put(fmt.Sprintf("k%d", s.rand.IntN(10)), fmt.Sprintf("v%d", s.txs))
	}
	if s.rand.IntN(6) == 0 {
		s.say("a large transaction")
		s.seq.Put("large", string(make([]byte, 1+s.rand.IntN(900<<10))))
	}
}

// oneSourceIsBack: who is connected to one honest source moves on, whatever the
// other one is like.
func (s *schedule) oneSourceIsBack() {
	daToo := s.rand.IntN(2) == 0
	s.say("one honest source is back, DA: %t", daToo)
	s.calm()
	if daToo {
		for _, x := range s.n.Nodes() {
			x.RestoreDA()
			x.Isolate()
		}
	} else {
		s.n.Heal()
		s.outage(da.OutageHang)
	}
	s.settle()
	head := s.seq.Applied()
	for _, x := range s.n.Nodes() {
		if name := x.Name(); (name == "p2p-only" && daToo) || (name == "da-only" && !daToo) {
			continue
		}
		x.WaitApplied(head, patience)
	}
}

// calm brings everybody up and takes all noise away.
func (s *schedule) calm() {
	s.n.DA.ClearFailures()
	s.outage(da.OutageNone)
	s.n.P2PNoise(testnet.Noise{}, 0)
	for _, x := range s.n.Nodes() {
		x.DANoise(testnet.Noise{}, 0)
		x.CrashAtCall(0)
		s.up(x)
		if x.Probe != nil {
			x.Probe.Slow(0)
		}
	}
}

func (s *schedule) repair() {
	s.say("everything works again")
	s.calm()
	s.n.Heal()
	for _, x := range s.n.Nodes() {
		x.RestoreDA()
	}
}

// settle lets things calm down. Attacks go on.
func (s *schedule) settle() {
	for range 5 {
		s.attack()
		s.pass()
	}
}
