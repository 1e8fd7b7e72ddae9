package testnet_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/testnet"
)

var (
	runs = flag.Int("sim.runs", 4, "random schedules to run")
	seed = flag.Uint64("sim.seed", 1, "seed of the first schedule")
)

// schedule makes random trouble for five nodes.
type schedule struct {
	t    *testing.T
	n    *testnet.Net
	rand *rand.Rand
	txs  int
}

// TestRandomTrouble crashes, restarts, cuts and starves nodes at random. Once
// everything works again everybody reaches the same chain within a bound, and the
// invariants hold. To repeat a failure: -run RandomTrouble -sim.seed N -sim.runs 1.
func TestRandomTrouble(t *testing.T) {
	if testing.Short() {
		*runs = 1
	}
	for i := range uint64(*runs) {
		t.Run(fmt.Sprintf("seed %d", *seed+i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				allowDATrouble(n)
				n.Logs.Allow("executor is ahead, rolling back", "dropping a head nobody can prove")
				s := &schedule{t: t, n: n, rand: rand.New(rand.NewPCG(*seed+i, 0))}
				s.run()
			})
		})
	}
}

func (s *schedule) run() {
	seq := s.n.Sequencer(testnet.Name("seq"))
	s.n.Full(testnet.Name("both"))
	s.n.Full(testnet.Name("p2p-only"), testnet.NoDA())
	s.n.Full(testnet.Name("da-only"), testnet.NoP2P())
	s.n.Light(testnet.Name("light"))
	for range 25 {
		s.step()
		time.Sleep(time.Duration(s.rand.Int64N(int64(10 * time.Second))))
	}
	s.repair()
	// Longest back-off of a dial, and then some.
	time.Sleep(time.Minute)
	head := seq.Applied()
	s.n.WaitApplied(head, time.Minute)
	s.n.WaitFinal(head, time.Minute)
	s.n.SameRoots(head)
	s.t.Logf("%d blocks, %d transactions", head, s.txs)
}

func (s *schedule) say(format string, args ...any) {
	s.n.Logs.Logger().Named("schedule").Info(fmt.Sprintf(format, args...))
}

func (s *schedule) step() {
	nodes := s.n.Nodes()
	x, y := nodes[s.rand.IntN(len(nodes))], nodes[s.rand.IntN(len(nodes))]
	switch op := s.rand.IntN(12); op {
	case 0, 1:
		s.say("%s down, killed: %t", x.Name(), op == 0)
		s.down(x, op == 0)
	case 2, 3:
		s.say("%s up", x.Name())
		if !x.Running() {
			x.Start()
		}
	case 4:
		s.say("%s killed and up at once", x.Name())
		if x.Running() {
			x.Crash()
		}
		x.Start()
	case 5:
		s.say("%s and %s are cut off from each other", x.Name(), y.Name())
		s.n.Cut(x, y)
	case 6:
		s.say("links are back")
		s.n.Heal()
	case 7:
		s.say("%s is cut off from DA", x.Name())
		x.CutDA()
	case 8:
		s.say("%s reaches DA again", x.Name())
		x.RestoreDA()
	case 9:
		outage := []da.Outage{da.OutageRefuse, da.OutageHang, da.OutageNone, da.OutageNone}[s.rand.IntN(4)]
		s.say("DA outage: %s", outage)
		if err := s.n.DA.SetOutage(outage); err != nil {
			s.t.Error(err)
		}
	case 10:
		s.say("a submission's answer is lost")
		s.n.DA.Fail(da.Failure{Method: "blob.Submit", Next: 1, LoseReply: true})
	default:
		s.put()
	}
}

func (s *schedule) down(x *testnet.Node, kill bool) {
	switch {
	case !x.Running():
	case kill:
		x.Crash()
	default:
		x.Stop()
	}
}

func (s *schedule) put() {
	seq := s.n.Nodes()[0]
	if !seq.Running() {
		return
	}
	for range s.rand.IntN(20) {
		s.txs++
		seq.Put(fmt.Sprintf("k%d", s.rand.IntN(10)), fmt.Sprintf("v%d", s.txs))
	}
}

func (s *schedule) repair() {
	s.say("everything works again")
	s.n.Heal()
	s.n.DA.ClearFailures()
	if err := s.n.DA.SetOutage(da.OutageNone); err != nil {
		s.t.Error(err)
	}
	for _, x := range s.n.Nodes() {
		x.RestoreDA()
		if !x.Running() {
			x.Start()
		}
	}
}
