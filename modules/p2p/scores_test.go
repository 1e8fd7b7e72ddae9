package p2p

import (
	"strconv"
	"strings"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func nobody(peer.ID) bool { return false }

func TestScoresFallAndRecover(t *testing.T) {
	s, now := newScores(Default()), start()
	require.Zero(t, s.score("a", now))
	require.False(t, s.offend("a", Invalid, "garbage", now))
	require.False(t, s.offend("a", Mismatch, "link", now))
	require.InDelta(t, -40, s.score("a", now), 1e-6)
	require.InDelta(t, -20, s.score("a", now.Add(10*time.Minute)), 1e-6, "half in the half-life")
	require.Equal(t, map[string]uint64{"invalid": 1, "mismatch": 1}, s.offences("a"))
	require.Nil(t, s.offences("b"))
}

// What honest peers may do by accident, or for others, never bans them.
func TestFloors(t *testing.T) {
	for r, floor := range map[Reason]float64{Relayed: -50, Stalled: -60, Unproven: -75} {
		s := newScores(Default())
		for range 10_000 {
			require.False(t, s.offend("a", r, "", start()), r)
		}
		require.InDelta(t, floor, s.score("a", start()), 1e-6, r)
		require.Greater(t, floor, float64(publishThreshold), "%s does not cut gossip", r)
	}
	s := newScores(Default())
	for range 3 {
		s.offend("a", Invalid, "", start())
	}
	s.offend("a", Relayed, "", start())
	require.InDelta(t, -90, s.score("a", start()), 1e-6, "a floor lifts nobody")
}

func TestBansEnd(t *testing.T) {
	s, now := newScores(Default()), start()
	for range 3 {
		require.False(t, s.offend("a", Invalid, "", now))
	}
	require.True(t, s.offend("a", Invalid, strings.Repeat("x", 1000), now))
	require.False(t, s.offend("a", Invalid, "", now), "once")
	list := s.banned(now)
	require.Len(t, list, 1)
	require.Equal(t, Ban{ID: "a", Until: now.Add(10 * time.Minute), Reason: Invalid, Detail: ""}, list[0])
	later := now.Add(10 * time.Minute)
	require.True(t, s.bannedUntil("a", later).IsZero())
	require.InDelta(t, pardoned, s.score("a", later), 1e-6)
	s.offend("a", Invalid, "", later)
	require.True(t, s.offend("a", Invalid, "", later), "a relapse takes less")
	require.True(t, s.pardon("a", later))
	require.False(t, s.pardon("a", later))
	require.Zero(t, s.score("a", later))
	require.LessOrEqual(t, len(short(strings.Repeat("é", 1000))), 210)
}

// The least bad of the banned gets another chance, static peers before others, and
// who was banned by hand never.
func TestChance(t *testing.T) {
	s, now := newScores(Default()), start()
	bad := func(id peer.ID, n int) {
		for range n {
			s.offend(id, Invalid, "", now)
		}
	}
	bad("worse", 9)
	bad("better", 4)
	bad("static", 12)
	s.ban("hand", "", now.Add(time.Hour), now)
	id, ok := s.chance(func(p peer.ID) bool { return p == "static" }, now)
	require.True(t, ok)
	require.EqualValues(t, "static", id)
	id, _ = s.chance(nobody, now)
	require.EqualValues(t, "better", id)
	id, _ = s.chance(nobody, now)
	require.EqualValues(t, "worse", id)
	_, ok = s.chance(nobody, now)
	require.False(t, ok)
	require.Len(t, s.banned(now), 1)
}

func TestRecordsAreBounded(t *testing.T) {
	s, now := newScores(Default()), start()
	s.ban("banned", "", now.Add(time.Hour), now)
	for i := range maxRecords + 50 {
		s.offend(peer.ID(strconv.Itoa(i)), Stalled, "", now)
	}
	require.Len(t, s.peers, maxRecords)
	require.False(t, s.bannedUntil("banned", now).IsZero(), "the banned are kept")
}

func rpcOf(from string, sizes ...int) *pubsub.RPC {
	rpc := &pubsub.RPC{}
	for _, n := range sizes {
		rpc.Publish = append(rpc.Publish, &pb.Message{From: []byte(from), Data: make([]byte, n)})
	}
	return rpc
}

func TestSpam_GossipIsPaced(t *testing.T) {
	c := Default()
	c.GossipPeerMessages, c.GossipPeerBytes = 10, 1000
	r, now := newRates(c), start()
	for range 20 {
		kept, _ := r.pass("a", rpcOf("a", 1), now)
		require.Equal(t, 1, kept)
	}
	kept, own := r.pass("a", rpcOf("a", 1), now)
	require.Zero(t, kept, "messages")
	require.True(t, own)
	kept, own = r.pass("a", rpcOf("b", 1), now)
	require.Zero(t, kept)
	require.False(t, own, "relayed")
	kept, _ = r.pass("b", rpcOf("b", 1000, 900, 200), now)
	require.Equal(t, 2, kept, "bytes")
	kept, _ = r.pass("a", rpcOf("a", 1, 1), now.Add(100*time.Millisecond))
	require.Equal(t, 1, kept, "it comes back")
	r.forget("a")
	require.Len(t, r.peers, 1)
}

func TestReasonNames(t *testing.T) {
	require.Len(t, Reasons(), int(reasons))
	seen := map[string]bool{}
	for _, name := range Reasons() {
		require.NotEmpty(t, name)
		require.False(t, seen[name])
		seen[name] = true
	}
	require.Equal(t, "unknown", Reason(99).String())
}
