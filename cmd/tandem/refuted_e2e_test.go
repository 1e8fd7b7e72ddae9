//go:build e2e && linux

package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
	"github.com/tandem-node/tandem/testutil/hostile"
)

// head returns the newest header in the database of a node that does not run.
func (n *node) head() *block.SignedHeader {
	t, c := n.w.t, app.Default().In(n.home)
	t.Helper()
	db := leveldb.New(c.DB)
	require.NoError(t, db.Open())
	defer func() { require.NoError(t, db.Close()) }()
	s := chainstore.New(db, c.Store, zap.NewNop())
	require.NoError(t, s.Open(t.Context()))
	h, err := s.Headers().GetByHeight(t.Context(), s.Headers().Height())
	require.NoError(t, err)
	return h
}

// buggy posts to DA what a sequencer with a faulty executor would post after a
// header: that of an empty block, linked and properly signed, with another app hash.
func (n *node) buggy(last *block.SignedHeader) *block.SignedHeader {
	t := n.w.t
	t.Helper()
	key, err := signer.Load(app.Default().In(n.home).Signer.KeyFile, []byte("secret"))
	require.NoError(t, err)
	g, err := block.LoadGenesis(n.w.genesis())
	require.NoError(t, err)
	h, empty := last.Header, block.EmptyCommitment()
	h.Height, h.LastHeaderHash, h.AppHash, h.DataHash = h.Height+1, last.Hash(), []byte("another state"), empty[:]
	h.Time = uint64(last.Time().Add(time.Millisecond).UnixNano())
	wrong := testutil.Sign(key, h)
	client, err := da.NewCelestia(n.w.da.url, da.Default())
	require.NoError(t, err)
	require.NoError(t, hostile.NewPoster(client, g).Post(t.Context(), hostile.Forgery{
		Name: "wrong app hash", Kind: block.KindHeader, Bytes: testutil.Envelope(key, wrong),
	}))
	return wrong
}

// refutes waits until a node says that DA holds a block that its executor refutes,
// and checks that it stays where it was, alive and serving.
func (n *node) refutes(wrong *block.SignedHeader) {
	t := n.w.t
	t.Helper()
	eventually(t, patience, func() (bool, string) {
		for _, p := range n.status().Problems {
			if p.Kind == "refuted" && strings.Contains(p.Reason, "DA holds this block") {
				return true, ""
			}
		}
		return false, brief(n.status())
	})
	s := n.status()
	require.Equal(t, wrong.Height()-1, s.Heads.Applied)
	require.Contains(t, s.WaitingFor, wrong.Digest().Short())
	require.NotNil(t, n.get("/health/live"), "it is alive")
	require.Nil(t, n.get("/health/ready"), "and not ready")
	r := command(t, "status", "--rpc", n.rpc())
	require.Zero(t, r.code, r.err)
	for _, part := range []string{"refuted", "the proposer is faulty", "execution.name kv", "tandem evidence list"} {
		require.Contains(t, r.out, part)
	}
}

// TestRefutedHeader: the proposer's executor was at fault, and DA holds the header it
// signed. Followers keep the evidence, stay where they are and go on serving, through
// restarts; one that was told to halt ends once. The proof can be shown to others.
func TestRefutedHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mayFail = []string{
		"execution refutes a block that the proposer signed", "da holds a block that execution refutes, nothing above is applied",
		"worker failed, the node stops",
	}
	layer := w.newDA()
	layer.start()
	seq := w.sequencer()
	seq.start()
	waits := w.follower("waits", seq.viaP2P(), layer.viaDA())
	halts := w.follower("halts", seq.viaP2P(), layer.viaDA(), "--pipeline.refuted=halt")
	waits.start()
	halts.start()
	waits.finalizes(5)
	halts.finalizes(5)
	seq.stop()
	eventually(t, patience, func() (bool, string) { return waits.applied() == halts.applied(), brief(halts.status()) })
	waits.stop()
	wrong := seq.buggy(waits.head())
	require.NotZero(t, halts.wait(t, patience), "it ends for the first time")
	for range 3 {
		waits.start()
		waits.refutes(wrong)
		halts.start()
		halts.refutes(wrong)
		waits.stop()
		halts.stop()
	}
	for _, n := range []*node{waits, halts} {
		r := command(t, "evidence", "list", "--home", n.home)
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "executor kv: app hash does not match the state after the previous block")
		r = command(t, "evidence", "export", "--home", n.home)
		require.Zero(t, r.code, r.err)
		r = commandIn(t, strings.NewReader(r.out), "evidence", "verify", "-", "--genesis", filepath.Join(seq.home, "config", "genesis.json"))
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "proposer")
		require.Contains(t, r.out, wrong.Digest().String())
	}
}
