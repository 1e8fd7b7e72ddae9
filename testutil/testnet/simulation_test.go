package testnet_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
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
	t      *testing.T
	n      *testnet.Net
	config app.Config
	rand   *rand.Rand
	seed   uint64
	seq    *testnet.Node // the one whose chain is on DA
	txs    int
	peer   *hostile.Peer
	poster *hostile.Poster
	forger *hostile.Forger
	twice  bool // DA has a second header of a height

	happened map[string]int // troubles
	story    story
	peers    []*testnet.Node // the sequencer's static peers
	copies   []oldHome
	blind    map[*testnet.Node]bool // its DA node has hidden something
}

// TestSimulation makes random trouble, and attacks, by seed. Once an honest source
// is back everybody reaches the same chain within a bound, while the attacks go on,
// and the invariants hold. 'make simulate' runs many; a failure names its seed.
func TestSimulation(t *testing.T) {
	if testing.Short() {
		*runs = 2
	}
	all := tally{count: map[string]int{}}
	bySeed(t, "simulate", *seed, *runs, func(t *testing.T, seed uint64) {
		t.Helper()
		all.add(simulate(t, seed))
	})
	t.Cleanup(func() { all.check(t, *runs) })
}

// simulate runs the schedule of a seed and returns how often each trouble happened.
func simulate(t *testing.T, seed uint64) map[string]int {
	t.Helper()
	s := &schedule{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)),
		happened: map[string]int{}, blind: map[*testnet.Node]bool{}, story: story{start: time.Now()},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened:\n%s", strings.Join(s.story.lines, "\n"))
		}
	})
	var refuted *refutation
	options := s.options()
	if seed%8 == 4 {
		refuted = &refutations[seed/8%uint64(len(refutations))]
		options = append(options, refuted.options()...)
	}
	s.n = testnet.New(t, options...)
	s.config = s.n.Config()
	allowDATrouble(s.n)
	s.n.Logs.Allow("executor is ahead, rolling back", "dropping a head nobody can prove", "peer sent a bad item",
		"syncing failed, trying again", "final height not advanced, will try again",
		"the proposer signed two headers for one height", "header on da differs from the stored one",
		"the DA layer does not hold what it answered to have taken, posting it again", "da head is below what was already read",
		"da endpoint is behind", "da endpoint is of another da layer and is not used")
	s.poster, s.forger = s.n.Poster(), hostile.NewForger(s.n.Genesis, seed)
	switch {
	case refuted != nil:
		s.refutedStory(refuted)
	case seed%8 == 0:
		s.twoStories()
	default:
		s.oneStory()
	}
	return s.happened
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
	both := s.n.Full(testnet.Name("both"), testnet.Tripwire())
	peersOnly := s.n.Full(testnet.Name("p2p-only"), testnet.NoDA(), testnet.Tripwire())
	s.n.Full(testnet.Name("da-only"), testnet.NoP2P(), testnet.Tripwire())
	light := s.n.Light(testnet.Name("light"), testnet.Tripwire())
	s.peers = []*testnet.Node{both, peersOnly, light}
	s.peer = s.n.Hostile()
	for range 16 {
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
	s.t.Logf("%d blocks, %d transactions, troubles: %v", head, s.txs, s.happened)
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
	line := fmt.Sprintf(format, args...)
	s.story.tell(line)
	s.n.Logs.Logger().Named("schedule").Info(line)
}

func (s *schedule) outage(o da.Outage) {
	s.say("DA outage: %s", o)
	require.NoError(s.t, s.n.DA.SetOutage(o))
}

// noise makes one of the sources unreliable, or reliable again.
func (s *schedule) noise(x *testnet.Node) bool {
	noise := testnet.Noise{}
	if s.rand.IntN(3) > 0 {
		noise = testnet.Noise{Drop: s.rand.Float64() / 10, Duplicate: s.rand.Float64() / 5, Delay: time.Duration(s.rand.Int64N(int64(300 * time.Millisecond)))}
	}
	if s.rand.IntN(2) == 0 {
		s.say("links have noise %+v", noise)
		s.n.P2PNoise(noise, s.rand.Uint64())
		return noise != (testnet.Noise{})
	}
	noise.Delay *= 10
	s.say("DA of %s has noise %+v", x.Name(), noise)
	x.DANoise(noise, s.rand.Uint64())
	return noise != (testnet.Noise{})
}

// down ends a node, and reports whether it ran.
func (s *schedule) down(x *testnet.Node, kill bool) bool {
	switch {
	case !x.Running():
		return false
	case kill || x.Dead():
		x.Crash()
	default:
		x.Stop()
	}
	return true
}

// up starts a node, and reports whether it did not run.
func (s *schedule) up(x *testnet.Node) bool {
	if x.Dead() && x.Running() {
		x.Crash()
	}
	if x.Running() {
		return false
	}
	if x == s.seq && x.ClockError() > block.MaxFuture {
		// While DA is away nothing tells a clock that is ahead at the start, and what is
		// signed then stands.
		x.SetClock(0)
		s.say("its clock is set right")
	}
	if x == s.seq && len(s.peers) > 0 {
		x.Start(testnet.Peers(s.peers...)) // it asks them before it signs
	} else {
		x.Start()
	}
	return true
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
	s.honest(nil)
	for _, x := range s.n.Nodes() {
		x.DANoise(testnet.Noise{}, 0)
		x.CrashAtCall(0)
		x.SetClock(0)
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
