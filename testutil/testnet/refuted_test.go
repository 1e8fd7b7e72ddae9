package testnet_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/execution/executiontest"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/hostile"
	"github.com/tandem-node/tandem/testutil/testnet"
)

// refutation is one way in which a header that the proposer's key signed, and that
// links, is refuted by execution.
type refutation struct {
	name   string
	data   bool // by its data; else by its state root
	onDA   bool // DA holds it; else only peers were given it
	mended bool // the executor was at fault, and is replaced in the end
	forced bool // no header is made: the sequencer leaves a forced transaction out
}

var refutations = []refutation{
	{name: "refuted: state root, from peers"},
	{name: "refuted: state root, on DA", onDA: true},
	{name: "refuted: data, from peers", data: true},
	{name: "refuted: data, on DA", data: true, onDA: true},
	{name: "refuted: data, on DA, by a faulty executor", data: true, onDA: true, mended: true},
	{name: "refuted: forced transaction left out", forced: true},
}

// options are what the chain of such a story is like. Blocks are rare where a header
// is made, so that all of them are final before.
func (r *refutation) options() []testnet.Option {
	if r.forced {
		return []testnet.Option{testnet.Forced(3)}
	}
	return []testnet.Option{testnet.Lazy(20 * time.Second)}
}

// refusing is an executor that refuses a transaction for good, where it is faulty or
// the chain's rules say so.
type refusing struct {
	executiontest.Complete

	refuses *atomic.Bool
}

var overdrawn = []byte("overdrawn=1")

// ExecuteTxs implements execution.Executor.
func (r refusing) ExecuteTxs(ctx context.Context, e block.Execution) (block.ExecResult, error) {
	if r.refuses.Load() && slices.ContainsFunc(e.Txs, func(tx []byte) bool { return bytes.Equal(tx, overdrawn) }) {
		return block.ExecResult{}, fmt.Errorf("overdrawn: %w", block.ErrRefusedData)
	}
	return r.Complete.ExecuteTxs(ctx, e) //nolint:wrapcheck // a pass-through
}

// refutedStory: a second holder of the proposer's key makes one header that execution
// refutes. Nodes keep the evidence. Where DA holds another block they go on with it;
// where DA holds the refuted one they stand, serve and say why, at every start.
func (s *schedule) refutedStory(how *refutation) {
	s.say("%s", how.name)
	s.allowRefuted()
	if how.forced {
		s.forcedStory(how)
		return
	}
	var refuses atomic.Bool
	refuses.Store(true)
	executor := testnet.With(fx.Decorate(func(e execution.Executor) execution.Executor {
		return refusing{e.(executiontest.Complete), &refuses} //nolint:forcetypeassert // the built-in one is
	}))
	policy := []pipeline.RefutedPolicy{pipeline.RefutedWait, pipeline.RefutedHalt}[s.rand.IntN(2)]
	halting := testnet.Change(func(c *app.Config) { c.Pipeline.Refuted = policy })
	s.seq = s.n.Sequencer(testnet.Name("seq"), testnet.NoP2P(), testnet.Tripwire(), executor)
	both := s.n.Full(testnet.Name("both"), testnet.Peers(), testnet.Tripwire(), executor, halting)
	peersOnly := s.n.Full(testnet.Name("p2p-only"), testnet.Peers(both), testnet.NoDA(), testnet.Tripwire(), executor, halting)
	daOnly := s.n.Full(testnet.Name("da-only"), testnet.NoP2P(), testnet.Tripwire(), executor)
	light := s.n.Light(testnet.Name("light"), testnet.Peers(both, peersOnly), testnet.Tripwire())
	s.peer = s.n.Hostile()
	head := s.stand()
	wrong := s.makeRefuted(how, both, head)
	followers := []*testnet.Node{both, peersOnly, daOnly, light}
	judges := []*testnet.Node{both, peersOnly}
	if how.onDA {
		judges = []*testnet.Node{both, daOnly}
	}
	s.disturb(followers, 4)
	s.n.P2PNoise(testnet.Noise{}, 0)
	for _, x := range judges {
		s.refutes(x, wrong)
	}
	s.happened[how.name]++
	s.disturb(followers, 4)
	s.repair()
	if how.onDA {
		s.stands(append(judges, s.seq), wrong)
		for _, x := range append(followers, s.seq) {
			x.Restart()
		}
		s.stands(append(judges, s.seq), wrong)
		require.Equal(s.t, head, s.n.Signed(), "the sequencer signs nothing beside it")
		if !how.mended {
			return
		}
		s.say("the executor is replaced")
		refuses.Store(false)
		for _, x := range append(followers, s.seq) {
			x.Restart()
		}
	}
	s.goesOn(head + 1)
	for _, x := range judges {
		require.Equal(s.t, !how.mended, s.evidence(x, wrong), "%s has evidence", x.Name())
	}
}

// allowRefuted lets nodes say what follows of a refuted header.
func (s *schedule) allowRefuted() {
	allowRollback(s.n)
	s.n.Logs.Allow("execution refutes a block that the proposer signed", "da holds a block that execution refutes, nothing above is applied",
		"removing blocks that cannot be applied", "header differs from the one on da", "finishing a rollback that was cut short", "worker failed, the node stops",
		"execution accepts a block it refuted before, the evidence is dropped",
		"sequencer censors: a forced transaction is in no block", "forced transactions cannot be checked now, trying again", "conflicting items",
		"the sequencer has taken a forced transaction it had left out, the chain goes on")
}

// stand lets the chain begin, and stops the sequencer where all it has signed is
// final everywhere. It returns that height.
func (s *schedule) stand() uint64 {
	for range 3 {
		s.put()
		s.pass()
	}
	for {
		head := s.n.Signed()
		s.n.WaitFinal(head, patience)
		s.n.WaitApplied(head, patience)
		if s.n.Signed() == head {
			s.seq.Stop()
			return head
		}
	}
}

// makeRefuted makes the header that follows a height, and gives it to peers or to DA.
func (s *schedule) makeRefuted(how *refutation, like *testnet.Node, head uint64) *block.SignedHeader {
	key, last := testutil.Key("proposer"), like.Header(head)
	var txs [][]byte
	h := last.Header
	h.Height, h.LastHeaderHash, h.AppHash = h.Height+1, last.Hash(), like.Root(head)
	if how.data {
		txs = [][]byte{overdrawn}
	} else {
		h.AppHash = []byte("another state")
	}
	commitment := block.Commit(txs)
	h.DataHash = commitment[:]
	h.Time = uint64(last.Time().Add(time.Millisecond).UnixNano())
	wrong := testutil.Sign(key, h)
	data := block.CanonicalData(wrong, txs, dataAt(s.t, like, head).Hash())
	if how.onDA {
		require.NoError(s.t, s.poster.Post(s.t.Context(),
			hostile.Forgery{Name: how.name, Kind: block.KindHeader, Bytes: testutil.Envelope(key, wrong)},
			hostile.Forgery{Name: how.name, Kind: block.KindData, Bytes: testutil.DataBlob(key, data)}))
		return wrong
	}
	s.offer(wrong.Height(), wrong.EncodeP2P(), data.EncodeP2P())
	return wrong
}

// offer makes the hostile peer serve one block, as the newest, and gossip it.
func (s *schedule) offer(height uint64, header, data []byte) {
	for kind, body := range map[block.Kind][]byte{block.KindHeader: header, block.KindData: data} {
		s.peer.Serve(kind, func(origin, _ uint64) [][]byte {
			if origin != 0 && origin != height {
				return [][]byte{}
			}
			return [][]byte{body}
		})
	}
	s.n.Dial(s.peer)
	for _, f := range []hostile.Forgery{{Kind: block.KindHeader, Bytes: header}, {Kind: block.KindData, Bytes: data}} {
		require.NoError(s.t, s.peer.Publish(s.t.Context(), f))
	}
}

// disturb makes trouble for followers.
func (s *schedule) disturb(followers []*testnet.Node, times int) {
	for range times {
		x := followers[s.rand.IntN(len(followers))]
		switch s.rand.IntN(6) {
		case 0:
			s.say("%s killed and started", x.Name())
			s.down(x, true)
			s.up(x)
		case 1, 2:
			s.killAtCall(x)
		case 3:
			s.noise(x)
		case 4:
			s.say("DA of %s cut off", x.Name())
			x.CutDA()
		default:
			s.say("DA of %s restored", x.Name())
			x.RestoreDA()
		}
		s.pass()
	}
}

// evidence reports whether a node keeps a header as one that execution refutes.
func (s *schedule) evidence(x *testnet.Node, wrong *block.SignedHeader) bool {
	for _, e := range x.Evidence() {
		require.NoError(s.t, e.Verify(s.n.Genesis), x.Name())
		if e.Refuted != nil && e.Second.Header.Digest() == wrong.Digest() {
			return true
		}
	}
	return false
}

// refutes waits until a node has the evidence and runs: one that is told to halt
// does so once.
func (s *schedule) refutes(x *testnet.Node, wrong *block.SignedHeader) {
	x.DANoise(testnet.Noise{}, 0)
	x.RestoreDA()
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		x.CrashAtCall(0)
		s.up(x)
		s.n.Dial(s.peer)
		if x.Pipeline.Conflicts().Halted != nil {
			s.say("%s has halted", x.Name())
			s.happened["halted by a refuted header"]++
			s.down(x, true)
			s.up(x)
		}
		if s.evidence(x, wrong) && x.Pipeline.Conflicts().Halted == nil {
			return
		}
		require.True(s.t, time.Now().Before(end), "%s does not refute block %d: %+v", x.Name(), wrong.Height(), x.Status())
	}
}

// stands waits until nodes say that DA holds a block that execution refutes, and
// checks that they apply nothing, live, and are not ready.
func (s *schedule) stands(nodes []*testnet.Node, wrong *block.SignedHeader) {
	time.Sleep(patience)
	for _, x := range nodes {
		status := x.Status()
		require.Truef(s.t, slices.ContainsFunc(status.Problems, func(p rpc.Problem) bool {
			return p.Kind == "refuted" && strings.Contains(p.Reason, "DA holds this block")
		}), "%s: %+v", x.Name(), status)
		require.Equal(s.t, wrong.Height()-1, x.Applied(), x.Name())
		require.Contains(s.t, status.WaitingFor, wrong.Digest().Short(), x.Name())
		require.NoError(s.t, live(x), x.Name())
		require.False(s.t, x.API.Node.Ready(s.t.Context()).Ready, x.Name())
		require.NoError(s.t, x.Pipeline.Conflicts().Halted, x.Name())
		require.True(s.t, s.evidence(x, wrong), "%s has no evidence", x.Name())
	}
}

// goesOn checks that the chain continues, with a height and above, for everybody.
func (s *schedule) goesOn(height uint64) {
	s.settle()
	head := s.seq.Applied()
	s.n.WaitApplied(max(head, height), patience)
	s.n.WaitFinal(max(head, height), patience)
	s.n.SameRoots(max(head, height))
}

// forcedStory: the sequencer leaves a forced transaction out. Who reads DA keeps the
// evidence and applies nothing more until it is taken.
func (s *schedule) forcedStory(how *refutation) {
	var honest atomic.Bool
	s.seq = s.n.Sequencer(testnet.Name("seq"), testnet.Tripwire(), testnet.Inside(fx.Decorate(func(f sequencer.Forced) sequencer.Forced {
		if honest.Load() {
			return f
		}
		return sequencer.NoForced{}
	})))
	both := s.n.Full(testnet.Name("both"), testnet.Tripwire())
	daOnly := s.n.Full(testnet.Name("da-only"), testnet.NoP2P(), testnet.Tripwire())
	s.peer = s.n.Hostile()
	s.n.WaitFinal(3, patience)
	s.n.Force("unwanted=1")
	judges := []*testnet.Node{both, daOnly}
	s.disturb(judges, 6)
	s.repair()
	for _, x := range judges {
		accused(s.t, x, 2*patience)
		proofs := x.Evidence()
		require.NotEmpty(s.t, proofs, x.Name())
		require.NoError(s.t, proofs[0].Verify(s.n.Genesis))
		require.Equal(s.t, block.ErrForcedLeftOut, proofs[0].Refuted.Rule)
	}
	s.happened[how.name]++
	stood := []uint64{both.Applied(), daOnly.Applied()}
	s.disturb(judges, 4)
	s.repair()
	for i, x := range judges {
		require.Equal(s.t, stood[i], x.Applied(), x.Name())
		require.NoError(s.t, live(x), x.Name())
	}
	s.say("the sequencer takes what was forced")
	honest.Store(true)
	s.seq.Restart()
	for _, x := range judges {
		x.WaitGet("unwanted", "1", 2*patience)
	}
	s.goesOn(0)
}
