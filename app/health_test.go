package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/syncer"
)

// healthy is a follower at the head of both sources.
func healthy() rpc.Status {
	return rpc.Status{
		Heads: rpc.Heads{Header: 100, Data: 100, Applied: 100, Final: 98, P2P: 100, DA: 98},
		Lag:   rpc.Lag{Final: 2},
		P2P:   rpc.P2P{Enabled: true, Peers: 3, ChainPeers: 2, Target: 100},
		DA:    rpc.DA{Enabled: true, Phase: string(daworker.PhaseHead), Head: 500, Cursor: 501, LastOK: time.Unix(1, 0)},
	}
}

func producing() rpc.Status {
	s := healthy()
	s.Sequencer = &rpc.Sequencer{Produced: 9}
	return s
}

func noPeers(s *rpc.Status)   { s.P2P.Peers, s.P2P.ChainPeers, s.P2P.Target = 0, 0, 0 }
func p2pOff(s *rpc.Status)    { noPeers(s); s.P2P.Enabled = false }
func daOff(s *rpc.Status)     { s.DA = rpc.DA{Phase: string(daworker.PhaseDisabled)} }
func daFails(s *rpc.Status)   { s.DA.Error = "connection refused" }
func daSilent(s *rpc.Status)  { s.DA.LastOK, s.DA.Head = time.Time{}, 0 }
func daFarAway(s *rpc.Status) { s.DA.Head, s.DA.Phase = 900, string(daworker.PhaseCatchUp) }
func nothing(s *rpc.Status)   { s.Heads = rpc.Heads{} }
func behind(s *rpc.Status)    { s.Heads.Applied, s.Lag.Blocks = 84, 16 }
func nearly(s *rpc.Status)    { s.Heads.Applied, s.Lag.Blocks = 85, 15 }
func strangers(s *rpc.Status) { s.P2P.ChainPeers = 0 }
func paused(s *rpc.Status) {
	s.Sequencer.Paused, s.Sequencer.PendingHeaders, s.Sequencer.PendingData = true, 7, 8
}
func blocksLate(s *rpc.Status) { s.Sequencer.Late = true }
func badExec(s *rpc.Status)    { s.Sequencer.Error = "executor: disk full" }
func waits4(reason string) func(*rpc.Status) {
	return func(s *rpc.Status) { s.WaitingFor = reason }
}

func TestReady(t *testing.T) {
	type changes []func(*rpc.Status)
	for name, tc := range map[string]struct {
		of      func() rpc.Status
		changes changes
		stalled time.Duration
		want    string // empty: ready
	}{
		"at the head of both":           {healthy, nil, 0, ""},
		"first block still to come":     {healthy, changes{nothing}, 0, "no block applied yet"},
		"first block, with a reason":    {healthy, changes{nothing, waits4("data of 1")}, 0, "no block applied yet, waiting for data of 1"},
		"a little behind":               {healthy, changes{nearly}, 0, ""},
		"far behind":                    {healthy, changes{behind}, 0, "catching up: block 84 of 100"},
		"a little behind for long":      {healthy, changes{nearly, waits4("data of 86")}, 31 * time.Second, "block 86 is known but was not applied for 31s, waiting for data of 86"},
		"a little behind, not for long": {healthy, changes{nearly}, 30 * time.Second, ""},

		"DA node down, peers there":          {healthy, changes{daFails}, 0, ""},
		"DA not configured, peers there":     {healthy, changes{daOff}, 0, ""},
		"P2P off, DA alone":                  {healthy, changes{p2pOff}, 0, ""},
		"no peers, DA alone":                 {healthy, changes{noPeers}, 0, ""},
		"peers of other chains, DA alone":    {healthy, changes{strangers}, 0, ""},
		"peers of other chains, DA down":     {healthy, changes{strangers, daFails}, 0, "no source of blocks: none of 3 peers is of this chain, and DA fails: connection refused"},
		"no peers and DA down":               {healthy, changes{noPeers, daFails}, 0, "no source of blocks: no peers, and DA fails: connection refused"},
		"no peers and DA not configured":     {healthy, changes{noPeers, daOff}, 0, "no source of blocks: no peers, and DA is not configured"},
		"P2P off and DA down":                {healthy, changes{p2pOff, daFails}, 0, "no source of blocks: P2P is off, and DA fails: connection refused"},
		"no peers and DA silent since start": {healthy, changes{noPeers, daSilent}, 0, "no source of blocks: no peers, and DA has not answered yet"},
		"far behind on DA, the only source":  {healthy, changes{p2pOff, daFarAway}, 0, "catching up on DA: height 501 of 900"},
		"far behind on DA, peers there":      {healthy, changes{daFarAway}, 0, ""},

		"producing":                            {producing, nil, 0, ""},
		"producing without peers and DA":       {producing, changes{noPeers, daFails}, 0, ""},
		"production paused":                    {producing, changes{paused}, 0, "production is paused: 7 headers and 8 data items wait for DA"},
		"production late":                      {producing, changes{blocksLate}, 0, "no block was made for too long"},
		"production late, waiting":             {producing, changes{blocksLate, waits4("the genesis start time")}, 0, "no block was made for too long, waiting for the genesis start time"},
		"production late, failing":             {producing, changes{blocksLate, badExec}, 0, "no block was made for too long: executor: disk full"},
		"trouble elsewhere, blocks in time":    {producing, changes{badExec}, 0, ""},
		"sequencer without what it once made":  {producing, changes{behind}, 0, "catching up: block 84 of 100"},
		"sequencer that has not begun to make": {producing, changes{nothing}, 0, "no block applied yet"},
	} {
		t.Run(name, func(t *testing.T) {
			s := tc.of()
			for _, change := range tc.changes {
				change(&s)
			}
			require.Equal(t, rpc.Readiness{Ready: tc.want == "", Reason: tc.want}, ready(s, tc.stalled))
		})
	}
}

func TestWaitingFor(t *testing.T) {
	moving := syncer.Stats{Next: 86, Head: 100}
	gap := syncer.Stats{Next: 86, Head: 85, WaitingFor: "data of 86"}
	for name, tc := range map[string]struct {
		of      func() rpc.Status
		changes []func(*rpc.Status)
		w       waits
		want    string
	}{
		"nothing to do":            {healthy, nil, waits{}, ""},
		"it moves":                 {healthy, []func(*rpc.Status){nearly}, waits{Syncer: moving}, ""},
		"a gap":                    {healthy, []func(*rpc.Status){nearly}, waits{Syncer: gap}, "data of 86"},
		"a gap DA knows more of":   {healthy, []func(*rpc.Status){nearly}, waits{Syncer: gap, Worker: daworker.Status{WaitingFor: "data of 86, header seen at DA 7"}}, "data of 86, header seen at DA 7"},
		"a gap nobody can fill":    {healthy, []func(*rpc.Status){nearly, noPeers, daFails}, waits{Syncer: gap}, "data of 86, no peers, and DA fails: connection refused"},
		"the executor fails":       {healthy, []func(*rpc.Status){nearly}, waits{Syncer: syncer.Stats{Next: 86, WaitingFor: "retry of 86", Failure: "disk full"}}, "retry of 86, disk full"},
		"no source at all":         {healthy, []func(*rpc.Status){noPeers, daSilent}, waits{}, "a source of blocks: no peers, and DA has not answered yet"},
		"a hole on DA":             {healthy, nil, waits{Worker: daworker.Status{WaitingFor: "header 5, later ones were seen on DA"}}, "header 5, later ones were seen on DA"},
		"reading DA":               {healthy, []func(*rpc.Status){p2pOff, daFarAway}, waits{}, "DA heights 501 to 900 to be read"},
		"the next DA block":        {healthy, []func(*rpc.Status){func(s *rpc.Status) { s.DA.Cursor = 500 }}, waits{}, ""},
		"DA down, blocks by peers": {healthy, []func(*rpc.Status){daFails}, waits{}, "DA, to make blocks final: connection refused"},
		"DA down, all final":       {healthy, []func(*rpc.Status){daFails, func(s *rpc.Status) { s.Lag.Final = 0 }}, waits{}, ""},
		"DA not configured":        {healthy, []func(*rpc.Status){daOff}, waits{}, ""},
		"never a block":            {healthy, []func(*rpc.Status){nothing}, waits{}, "the first block"},
		"wrong genesis, by DA": {
			healthy,
			[]func(*rpc.Status){nothing},
			waits{Worker: daworker.Status{Stats: daworker.Stats{JunkByReason: map[string]uint64{"proposer": 7}}}},
			"the first block: DA holds 7 items of another proposer, is the genesis file that of the chain?",
		},
		"wrong genesis, by peers": {
			healthy,
			[]func(*rpc.Status){nothing, daOff},
			waits{Lies: 1},
			"the first block: peers send headers of another proposer, is the genesis file that of the chain?",
		},
		"junk beside the chain":     {healthy, nil, waits{Lies: 1}, ""},
		"production":                {producing, nil, waits{Producer: "the genesis start time"}, "the genesis start time"},
		"production goes on":        {producing, []func(*rpc.Status){noPeers, daFails}, waits{}, ""},
		"posting":                   {producing, nil, waits{Lanes: []sequencer.LaneStats{{WaitingFor: "the DA layer"}, {}}}, ""},
		"posting fails":             {producing, nil, waits{Lanes: []sequencer.LaneStats{{}, {Held: "the DA layer: connection refused"}}}, "the DA layer: connection refused"},
		"production before posting": {producing, nil, waits{Producer: "DA to take the blocks that wait", Lanes: []sequencer.LaneStats{{Held: "x"}}}, "DA to take the blocks that wait"},
	} {
		t.Run(name, func(t *testing.T) {
			s := tc.of()
			for _, change := range tc.changes {
				change(&s)
			}
			require.Equal(t, tc.want, waitingFor(s, tc.w))
		})
	}
}

func TestLate(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	c := sequencer.Config{BlockTime: 2 * time.Second, LazyInterval: time.Minute}
	lazy := c
	lazy.Lazy = true
	fast := sequencer.Config{BlockTime: 100 * time.Millisecond}
	for _, tc := range []struct {
		c    sequencer.Config
		ago  time.Duration
		want bool
	}{
		{c, 10 * time.Second, false},
		{c, 10*time.Second + 1, true},
		{lazy, 2 * time.Minute, false},
		{lazy, 2*time.Minute + 1, true},
		{fast, 5 * time.Second, false},
		{fast, 5*time.Second + 1, true},
		{c, -time.Hour, false}, // the chain starts in an hour
	} {
		require.Equal(t, tc.want, late(tc.c, now.Add(-tc.ago), now), "%+v", tc)
	}
	require.Equal(t, time.Unix(3, 0), lastOf(time.Time{}, time.Unix(3, 0), time.Unix(2, 0)))
}

// A quiet chain must not look stuck at the moment its next block comes.
func TestStallIsMeasuredFromLookToLook(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	var s stall
	require.Zero(t, s.of(false, 5, at))
	at = at.Add(time.Hour)
	require.Zero(t, s.of(true, 5, at), "it has just come")
	at = at.Add(time.Minute)
	require.Equal(t, time.Minute, s.of(true, 5, at))
	at = at.Add(time.Minute)
	require.Zero(t, s.of(true, 6, at), "one was applied, the next is waited for")
	at = at.Add(time.Minute)
	require.Equal(t, time.Minute, s.of(true, 6, at))
	require.Zero(t, s.of(false, 7, at))
	at = at.Add(time.Minute)
	require.Zero(t, s.of(true, 6, at), "a height that comes again is new")
}

func TestLive(t *testing.T) {
	st := syncer.Stats{Next: 9, Head: 12}
	const limit = 2 * time.Minute
	require.NoError(t, live(st, 0, limit))
	require.NoError(t, live(st, limit, limit))
	require.EqualError(t, live(st, limit+time.Second, limit),
		"block 9 is stored but was not applied for 2m1s: nothing failed, a part of the node hangs")
	st.Failure = "executor: disk full"
	require.EqualError(t, live(st, 3*time.Minute, limit), "block 9 is stored but was not applied for 3m0s: executor: disk full")
}

func TestServiced(t *testing.T) {
	const limit = 2 * time.Minute
	require.NoError(t, serviced(nil))
	require.NoError(t, serviced([]loop{{"", "a", 0, limit}, {"", "b", limit, limit}}))
	require.EqualError(t, serviced([]loop{{"", "a", limit, limit}, {"", "b", limit + time.Second, limit}, {"", "c", time.Hour, limit}}),
		"b has been at one piece of work for 2m1s, more than 2m0s: it hangs")
}

func TestReplayIsNotReady(t *testing.T) {
	s := producing()
	s.Replay = &rpc.Replay{At: 5, To: 9}
	require.Equal(t, rpc.Readiness{Reason: "replaying blocks the executor lacks: block 5 of 9"}, ready(s, 0))
	r := pipeline.Replay{At: 5, From: 1, To: 9}
	require.Equal(t, "the executor, which is given again what it lacks: block 5 of 9", waitingFor(s, waits{Replay: replayText(&r)}))
	require.Empty(t, replayText(nil))
}

func TestDABehind(t *testing.T) {
	for _, tc := range []struct {
		d    rpc.DA
		want uint64
	}{
		{rpc.DA{Head: 10, Cursor: 1}, 0}, // not configured
		{rpc.DA{Enabled: true, Head: 10, Cursor: 11}, 0},
		{rpc.DA{Enabled: true, Head: 10, Cursor: 10}, 1},
		{rpc.DA{Enabled: true, Head: 10, Cursor: 1}, 10},
		{rpc.DA{Enabled: true, Cursor: 5}, 0},
	} {
		require.Equal(t, tc.want, daBehind(tc.d), "%+v", tc.d)
	}
}

func TestShortRoot(t *testing.T) {
	require.Equal(t, "0a0b", shortRoot([]byte{10, 11}))
	require.Len(t, shortRoot(make([]byte, 64)), 128)
	require.Equal(t, "sha256:98ce42deef51d40269d542f5314bef2c7468d401ad5d85168bfab4c0108f75f7", shortRoot(make([]byte, 65)))
}
