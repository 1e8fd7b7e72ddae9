package testnet_test

import (
	"context"
	"crypto/ed25519"
	"math"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/hostile"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// attack does one hostile thing, on either source.
func (s *schedule) attack() {
	if s.rand.IntN(2) == 0 {
		s.attackPeers()
		return
	}
	s.attackDA()
}

func (s *schedule) attackPeers() bool {
	s.n.Dial(s.peer)
	like := s.peer.Header()
	if like == nil {
		s.say("the hostile peer has heard nothing yet")
		return false
	}
	lies := s.peer.Lies(s.forger, time.Now)
	s.peer.Serve(block.KindHeader, lies[s.rand.IntN(len(lies))])
	s.peer.Serve(block.KindData, lies[s.rand.IntN(len(lies))])
	var all []hostile.Forgery
	switch next := like.Height() + 1 + s.rand.Uint64N(3); s.rand.IntN(5) {
	case 0:
		all = s.forger.Heads(like, hostile.FarHeight, time.Now())
	case 1:
		all = s.forger.Heads(like, next, time.Now())
		if next == like.Height()+1 {
			all = append(all, s.forger.Data(next, time.Now(), 1<<10)...)
		}
	case 2:
		all = s.forger.Data(next, time.Now(), 256<<10)
	case 3:
		all = s.forger.Data(hostile.FarHeight, time.Now(), 1<<10)
	default: // what is honest, again, late and in any order
		for _, kind := range []block.Kind{block.KindHeader, block.KindData} {
			for _, b := range s.peer.Heard(kind) {
				all = append(all, hostile.Forgery{Name: "replay", Kind: kind, Bytes: b})
			}
		}
	}
	s.say("the hostile peer gossips %d items like %q", len(all), all[0].Name)
	s.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, f := range all {
		require.NoError(s.t, s.peer.Publish(s.t.Context(), f))
	}
	return true
}

// claim makes forged heads far up known: as gossip, as the answer to every request, and
// as blobs of a stranger.
func (s *schedule) claim() bool {
	s.n.Dial(s.peer)
	like := s.peer.Header()
	if like == nil {
		return false
	}
	heights := []uint64{like.Height() + 1000, 1 << 40, 1 << 60, 1<<63 - 1, 1 << 63, math.MaxUint64}
	far := heights[s.rand.IntN(len(heights))]
	all := s.forger.Heads(like, far, time.Now())
	answer := all[s.rand.IntN(len(all))]
	s.say("heads at %d are claimed, asked for: %q", far, answer.Name)
	s.peer.Serve(block.KindHeader, func(uint64, uint64) [][]byte { return [][]byte{answer.Bytes} })
	for _, f := range append(all, s.forger.Data(far, time.Now(), 1<<10)...) {
		require.NoError(s.t, s.peer.Publish(s.t.Context(), f))
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	if err := s.poster.Post(ctx, s.forger.Blobs(like, nil, far, time.Now())...); err != nil {
		s.say("they do not land on DA: %v", err)
	}
	return true
}

// attackDA posts to the chain's namespaces. While DA is away nobody can.
func (s *schedule) attackDA() bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	seen, err := s.poster.Look(ctx, 8)
	if err != nil || seen.Newest == nil {
		s.say("the hostile poster sees nothing: %v", err)
		return false
	}
	var (
		all   []hostile.Forgery
		twice bool
	)
	like := seen.Newest
	if heard := s.peer.Header(); heard != nil && heard.Height() > like.Height() {
		like = heard // its proposer has yet to post it
	}
	switch height, how := like.Height(), s.rand.IntN(4); {
	case how == 0:
		all = seen.Blobs
	case how == 1:
		all = s.forger.Blobs(like, seen.Txs, hostile.FarHeight, time.Now())
	case how == 2 && !s.blind[s.seq]:
		all = []hostile.Forgery{s.doubleSigned(seen.Newest)}
		twice = true
	default:
		all = s.forger.Blobs(like, seen.Txs, height+1+s.rand.Uint64N(4), time.Now())
	}
	s.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	s.say("somebody posts %d blobs like %q after %d", len(all), all[0].Name, like.Height())
	if err := s.poster.Post(ctx, all...); err != nil {
		s.say("it does not land: %v", err)
		return false
	}
	s.twice = s.twice || twice
	s.allowRollbacks()
	return true
}

// doubleSigned is a second header by the proposer of a height that is on DA.
func (s *schedule) doubleSigned(first *block.SignedHeader) hostile.Forgery {
	key := testutil.Key("proposer")
	h := first.Header
	h.AppHash = []byte("another story")
	second := testutil.Sign(key, h)
	e := block.HeaderEnvelope{Header: second, Signature: ed25519.Sign(key, second.Encode())}
	return hostile.Forgery{Name: "a second header of the proposer", Kind: block.KindHeader, Bytes: e.Encode()}
}

// checkEvidence: who reads DA has the proof of every second header.
func (s *schedule) checkEvidence() {
	if !s.twice {
		return
	}
	for _, x := range s.n.Nodes() {
		if x.Name() == "p2p-only" || s.blind[x] { // what was hidden then is not missed
			continue
		}
		all := x.Evidence()
		require.NotEmpty(s.t, all, "%s has no evidence", x.Name())
		for _, e := range all {
			require.NoError(s.t, e.Verify(s.n.Genesis), x.Name())
		}
	}
}

// checkBytes: nobody keeps more than its budget (invariant 7).
func (s *schedule) checkBytes() {
	for _, x := range s.n.Nodes() {
		if !x.Running() || x.Dead() {
			continue
		}
		c := &s.config
		p, h := x.Worker.Status().Pending, x.HeaderExchange.Status()
		require.LessOrEqual(s.t, p.Bytes, c.DAWorker.PendingBytes, x.Name())
		require.LessOrEqual(s.t, p.QuarantineBytes, c.DAWorker.QuarantineBytes, x.Name())
		require.Less(s.t, h.Target, min(s.n.Signed()+1000, hostile.FarHeight), "%s believes a forged head", x.Name())
		require.LessOrEqual(s.t, h.ParkedBytes, int64(c.Exchange.ParkBytes), x.Name())
		s.checkQueue(x, h.QueuedBytes)
		if x.DataExchange != nil {
			d := x.DataExchange.Status()
			require.LessOrEqual(s.t, d.ParkedBytes, int64(c.Exchange.ParkBytes), x.Name())
			s.checkQueue(x, d.QueuedBytes)
		}
	}
}

// checkQueue: one answer may be under way when the limit is reached.
func (s *schedule) checkQueue(x *testnet.Node, queued int64) {
	require.LessOrEqual(s.t, queued, int64(s.config.Exchange.QueueBytes+s.config.Exchange.ResponseBytes), x.Name())
}

// twoStories: the proposer tells peers one story and DA another. Who reads DA ends
// with what is there.
func (s *schedule) twoStories() {
	n := s.n
	n.AllowDoubleSigning()
	n.Logs.Allow("the proposer signed two headers for one height", "header on da differs from the stored one",
		"rolling back to follow da", "rolled back to follow da", "chain store truncated", "conflicting items",
		"header differs from the one on da", "finishing a rollback that was cut short",
		"sync step failed, trying again",
		// Who is told the other story by its own follower does not know which to tell on.
		"worker failed, the node stops")
	peers := n.Sequencer(testnet.Name("peers"), testnet.Tripwire(), testnet.Unchecked())
	peers.CutDA()
	both := n.Full(testnet.Name("both"), testnet.Peers(peers), testnet.Tripwire())
	light := n.Light(testnet.Name("light"), testnet.Peers(peers), testnet.Tripwire())
	s.peer = n.Hostile()
	if s.rand.IntN(2) == 0 { // P2P before DA
		both.CutDA()
		light.CutDA()
	}
	time.Sleep(time.Duration(s.rand.Int64N(int64(20 * time.Second))))
	s.seq = n.Sequencer(testnet.Name("da"), testnet.NoP2P(), testnet.Tripwire())
	n.Full(testnet.Name("honest"), testnet.NoP2P(), testnet.Tripwire())
	s.put()
	followers := []*testnet.Node{both, light}
	for range 10 {
		switch x := followers[s.rand.IntN(2)]; s.rand.IntN(6) {
		case 0:
			s.down(x, true)
			s.up(x)
		case 1, 2:
			s.up(x)
			x.CrashAtCall(1 + s.rand.IntN(60))
		case 3:
			x.RestoreDA()
		case 4:
			s.put()
		default:
			s.attack()
		}
		s.pass()
	}
	s.say("the proposer stops telling peers")
	s.calm()
	for _, x := range followers {
		x.RestoreDA()
	}
	peers.Stop()
	s.settle()
	head := s.seq.Applied()
	n.WaitApplied(head, patience)
	n.WaitFinal(head, patience)
	n.SameRoots(head)
	for _, x := range followers {
		require.NotEmpty(s.t, x.Evidence(), "%s has no evidence", x.Name())
	}
}
