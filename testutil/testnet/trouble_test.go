package testnet_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// trouble is one kind of event in a schedule. do makes it happen, to x where it
// concerns a single node, and reports whether it happened: some need a node in a
// certain state.
type trouble struct {
	name   string
	weight int
	do     func(s *schedule, x *testnet.Node) bool
}

// troubles are what the steps of a schedule are drawn from.
var troubles = []trouble{
	{"node killed", 1, func(s *schedule, x *testnet.Node) bool { return s.down(x, true) }},
	{"node stopped", 1, func(s *schedule, x *testnet.Node) bool { return s.down(x, false) }},
	{"node started", 2, func(s *schedule, x *testnet.Node) bool { return s.up(x) }},
	{"node killed and started", 1, func(s *schedule, x *testnet.Node) bool { s.down(x, true); return s.up(x) }},
	{"node killed at a call", 3, (*schedule).killAtCall},
	{"link cut", 1, (*schedule).cut},
	{"links restored", 1, func(s *schedule, _ *testnet.Node) bool { s.n.Heal(); return true }},
	{"DA cut off", 1, func(_ *schedule, x *testnet.Node) bool { x.CutDA(); return true }},
	{"DA restored", 1, func(_ *schedule, x *testnet.Node) bool { x.RestoreDA(); return true }},
	{"DA outage", 2, (*schedule).randomOutage},
	{"DA answer lost", 1, func(s *schedule, _ *testnet.Node) bool {
		s.n.DA.Fail(da.Failure{Method: "blob.Submit", Next: 1, LoseReply: true})
		return true
	}},
	{"noise", 2, (*schedule).noise},
	{"executor slow", 1, (*schedule).slow},
	{"transactions", 1, func(s *schedule, _ *testnet.Node) bool { s.put(); return true }},
	{"attack by peers", 2, func(s *schedule, _ *testnet.Node) bool { return s.attackPeers() }},
	{"attack on DA", 3, func(s *schedule, _ *testnet.Node) bool { return s.attackDA() }},
	{"claims without proof", 2, func(s *schedule, _ *testnet.Node) bool { return s.claim() }},
	{"home copied", 2, (*schedule).copyHome},
	{"old home restored", 3, (*schedule).restoreHome},
	{"DA hides blobs", 1, func(s *schedule, x *testnet.Node) bool { return s.lie(x, testnet.Lie{Hide: true}) }},
	{"DA head far ahead", 1, (*schedule).farHead},
	{"DA loses submissions", 1, func(s *schedule, _ *testnet.Node) bool { return s.lie(s.seq, testnet.Lie{Lose: true}) }},
	{"DA wiped", 1, func(s *schedule, x *testnet.Node) bool { return s.lie(x, testnet.Lie{Wiped: true}) }},
	{"DA honest again", 2, (*schedule).honest},
	{"clock set while a node runs", 2, (*schedule).setClock},
	{"clock set while a node is down", 2, (*schedule).setClockDown},
	{"clock right again", 2, func(s *schedule, x *testnet.Node) bool { return s.rightClock(x) }},
}

// tally counts what happened in all schedules of a run.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *tally) add(happened map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range happened {
		c.count[name] += n
	}
}

// enough is how many schedules have to hold every trouble.
const enough = 100

// check fails the test when a trouble never happened in a long run.
func (c *tally) check(t *testing.T, schedules int) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(c.count)) {
		t.Logf("%5d times: %s", c.count[name], name)
	}
	if schedules < enough {
		return
	}
	for _, one := range troubles {
		require.NotZero(t, c.count[one.name], "%s: never in %d schedules", one.name, schedules)
	}
}

// step makes one trouble happen.
func (s *schedule) step() {
	nodes := s.n.Nodes()
	x := nodes[s.rand.IntN(len(nodes))]
	total := 0
	for _, one := range troubles {
		total += one.weight
	}
	at := s.rand.IntN(total)
	for _, one := range troubles {
		if at -= one.weight; at >= 0 {
			continue
		}
		s.say("%s (%s)", one.name, x.Name())
		if one.do(s, x) {
			s.happened[one.name]++
		} else {
			s.say("... not now")
		}
		return
	}
}

func (s *schedule) killAtCall(x *testnet.Node) bool {
	calls := 1 + s.rand.IntN(40)
	s.say("at call %d of its stores or executor", calls)
	s.up(x)
	x.CrashAtCall(calls)
	return true
}

func (s *schedule) cut(x *testnet.Node) bool {
	nodes := s.n.Nodes()
	y := nodes[s.rand.IntN(len(nodes))]
	s.say("to %s", y.Name())
	s.n.Cut(x, y)
	return x != y
}

func (s *schedule) randomOutage(*testnet.Node) bool {
	o := []da.Outage{da.OutageRefuse, da.OutageHang, da.OutageNone, da.OutageNone}[s.rand.IntN(4)]
	s.outage(o)
	return o != da.OutageNone
}

func (s *schedule) slow(x *testnet.Node) bool {
	d := time.Duration(s.rand.Int64N(int64(2 * time.Second)))
	s.say("%s each", d)
	if !x.Running() || x.Probe == nil {
		return false
	}
	x.Probe.Slow(d)
	return true
}

// lie makes the DA node of x tell a lie, or in half of the cases those of all nodes.
// The sequencer's does not hide its header and show another one with its signature:
// it would halt for good, as it has to (ADR 009).
func (s *schedule) lie(x *testnet.Node, lie testnet.Lie) bool {
	all := s.rand.IntN(2) == 0
	s.say("%+v, all nodes: %t", lie, all)
	blind := lie.Hide || lie.Wiped || lie.Head != 0 // heights up to it are said to be empty
	if blind && s.twice && (all || x == s.seq) {
		return false
	}
	for _, y := range s.n.Nodes() {
		if y == x || all {
			y.LieDA(lie)
			s.blind[y] = s.blind[y] || blind
		}
	}
	s.allowRollbacks()
	return true
}

// allowRollbacks lets nodes follow a second header when DA hides the first from them.
func (s *schedule) allowRollbacks() {
	if s.twice && len(s.blind) > 0 {
		allowRollback(s.n)
		s.n.Logs.Allow("header differs from the one on da", "execution refutes a block that the proposer signed",
			"da holds a block that execution refutes, nothing above is applied", "removing blocks that cannot be applied")
	}
}

func (s *schedule) farHead(x *testnet.Node) bool {
	heads := []uint64{s.n.DA.Status().Height + 1 + s.rand.Uint64N(1000), 1 << 40, 1 << 62}
	return s.lie(x, testnet.Lie{Head: heads[s.rand.IntN(len(heads))]})
}

func (s *schedule) honest(*testnet.Node) bool {
	for _, x := range s.n.Nodes() {
		x.LieDA(testnet.Lie{})
	}
	return true
}

// setClock sets the wall clock of a node that runs wrong, forth or back, by seconds to
// hours.
func (s *schedule) setClock(x *testnet.Node) bool {
	if !x.Running() || x.Dead() {
		return false
	}
	s.wrongClock(x)
	return true
}

func (s *schedule) wrongClock(x *testnet.Node) {
	most := []time.Duration{10 * time.Second, 5 * time.Minute, 24 * time.Hour}[s.rand.IntN(3)]
	wrong := time.Duration(s.rand.Int64N(int64(2*most))) - most
	s.say("that of %s, by %s", x.Name(), wrong)
	x.SetClock(wrong)
}

// setClockDown starts a node on a clock that was set wrong while it was down.
func (s *schedule) setClockDown(x *testnet.Node) bool {
	s.down(x, s.rand.IntN(2) == 0)
	s.wrongClock(x)
	return s.up(x)
}

// rightClock reports whether the clock was wrong.
func (s *schedule) rightClock(x *testnet.Node) bool {
	wrong := x.ClockError() != 0
	x.SetClock(0)
	return wrong
}

// copyHome keeps a copy of a home, in half of the cases the sequencer's.
func (s *schedule) copyHome(x *testnet.Node) bool {
	if s.rand.IntN(2) == 0 {
		x = s.seq
	}
	if x.Dead() { // its home is that of the dead
		return false
	}
	s.copies = append(s.copies, oldHome{x, x.Copy()})
	s.say("that of %s at block %d", x.Name(), s.n.Signed())
	return true
}

// oldHome is a copy of a node's home.
type oldHome struct {
	of   *testnet.Node
	path string
}

// restoreHome replaces the home of a node by an older copy. What the signer remembers
// is restored with it, or kept, as on another disk.
func (s *schedule) restoreHome(*testnet.Node) bool {
	if len(s.copies) == 0 {
		return false
	}
	old, kept := s.copies[s.rand.IntN(len(s.copies))], s.rand.IntN(2) == 0
	x := old.of
	if x != s.seq {
		s.down(x, s.rand.IntN(2) == 0)
		x.Restore(old.path, kept)
		s.say("that of %s", x.Name())
		return s.up(x)
	}
	return s.restoreSequencer(old.path, kept)
}

// restoreSequencer restores an old home of the sequencer, if another node has all
// blocks that were signed: nobody could continue a chain whose blocks are lost. When
// the signer has forgotten what it signed, peers have to be reachable until the node
// has asked them (ADR 023).
func (s *schedule) restoreSequencer(path string, kept bool) bool {
	s.down(s.seq, s.rand.IntN(2) == 0)
	signed := s.n.Signed()
	holder := s.holder(signed, !kept)
	if holder == nil {
		s.up(s.seq)
		return false
	}
	s.say("that of the sequencer, signer state kept: %t; %s has all %d blocks", kept, holder.Name(), signed)
	s.seq.Restore(path, kept)
	if kept {
		return s.up(s.seq)
	}
	s.n.Heal()
	s.n.P2PNoise(testnet.Noise{}, 0)
	holder.CrashAtCall(0)
	s.up(s.seq)
	s.seq.WaitApplied(signed, patience)
	return true
}

// holder returns a node that has applied all blocks up to a height; nil when there is
// none.
func (s *schedule) holder(height uint64, p2p bool) *testnet.Node {
	for _, x := range s.n.Nodes() {
		peers := x.Name() == "both" || x.Name() == "p2p-only"
		if x != s.seq && x.Running() && !x.Dead() && x.DataExchange != nil && (peers || !p2p) && x.Applied() >= height {
			return x
		}
	}
	return nil
}

// story is what happened in a schedule, for the log of a failure.
type story struct {
	start time.Time
	lines []string
}

func (s *story) tell(line string) {
	s.lines = append(s.lines, fmt.Sprintf("%8.1fs  %s", time.Since(s.start).Seconds(), line))
}
