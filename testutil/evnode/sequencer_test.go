package evnode

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
	"github.com/tandem-node/tandem/testutil"
)

// evSequencer is an ev-node that makes blocks, gossips and serves them, and posts
// them to DA when the test says so.
type evSequencer struct {
	*producer

	t        *testing.T
	node     *evNode
	da       *localMock
	headerNS []byte
	dataNS   []byte
}

func newSequencer(t *testing.T, p *producer, names ...string) *evSequencer {
	t.Helper()
	s := &evSequencer{producer: p, t: t, node: newEvNode(t, p.genesis.ChainID), da: newLocalMock(t)}
	s.headerNS, s.dataNS = namespaces(names[0], names[len(names)-1])
	return s
}

// gossip publishes blocks as they are made. Two topics have no order between
// them, so every third time it is data first.
func (s *evSequencer) gossip(blocks ...evBlock) {
	s.t.Helper()
	for _, b := range blocks {
		if b.header.Height()%3 == 2 {
			s.node.data.publish(s.t, b.data)
			s.node.headers.publish(s.t, b.header)
			continue
		}
		s.node.publish(s.t, b)
	}
}

// gossipSlowly waits for a node every few blocks: FloodSub drops what is over 32
// messages in a peer's queue.
func (s *evSequencer) gossipSlowly(blocks []evBlock, n *tandem) {
	s.t.Helper()
	for few := range slices.Chunk(blocks, 5) {
		s.gossip(few...)
		n.applied(few[len(few)-1].header.Height())
	}
}

// at returns the blocks of heights.
func (s *evSequencer) at(heights ...uint64) []evBlock {
	out := make([]evBlock, len(heights))
	for i, height := range heights {
		out[i] = s.blocks[height-s.genesis.InitialHeight]
	}
	return out
}

// header and body are DA blobs of a block.
func (s *evSequencer) header(b evBlock) *rpcBlob {
	return &rpcBlob{Namespace: s.headerNS, Data: headerBlob(s.key, b.header), Index: -1}
}

func (s *evSequencer) body(b evBlock) *rpcBlob {
	return &rpcBlob{Namespace: s.dataNS, Data: dataBlob(s.key, b.data), Index: -1}
}

// postHeaders and postData post in one submission each. Empty data is left out.
func (s *evSequencer) postHeaders(heights ...uint64) {
	var blobs []*rpcBlob
	for _, b := range s.at(heights...) {
		blobs = append(blobs, s.header(b))
	}
	at := s.da.put(blobs...)
	for _, b := range s.at(heights...) {
		s.node.hints.set(b.header, "header", at)
	}
}

func (s *evSequencer) postData(heights ...uint64) {
	var blobs []*rpcBlob
	for _, b := range s.at(heights...) {
		if !b.header.isEmpty() {
			blobs = append(blobs, s.body(b))
		}
	}
	at := s.da.put(blobs...)
	for _, b := range s.at(heights...) {
		if !b.header.isEmpty() {
			s.node.hints.set(b.header, "data", at)
		}
	}
}

// junk are blobs anyone may post.
func (s *evSequencer) junk() []*rpcBlob {
	stranger := testutil.Key("stranger")
	foreign := newProducer(s.genesis.ChainID, 0)
	foreign.key, foreign.genesis = stranger, s.genesis
	foreign.next(now(), []string{"not=ours"})
	foreign.next(now(), []string{"not=ours"})
	forged := s.blocks[1].header.signed()
	forged.Signature = ed25519.Sign(stranger, encode(forged.GetHeader()))
	return []*rpcBlob{
		{Namespace: s.headerNS, Data: []byte("junk")},
		{Namespace: s.dataNS, Data: []byte{0xff, 0xff, 0xff}},
		{Namespace: s.headerNS, Data: headerBlob(stranger, foreign.blocks[1].header)},
		{Namespace: s.dataNS, Data: dataBlob(stranger, foreign.blocks[1].data)},
		{Namespace: s.headerNS, Data: encode(forged)},
		{Namespace: s.headerNS, Data: headerBlob(stranger, s.blocks[1].header)}, // a stranger's envelope around ours
		{Namespace: s.headerNS, Data: encode(s.blocks[1].data.msg)},
	}
}

// blocksOf makes the chain of the main test: all that ev-node may put into one.
func (s *evSequencer) blocksOf(last int) {
	for n := 1; n <= last; n++ {
		at := now()
		var txs []string
		var change []func(*pb.Header)
		switch {
		case n == 1:
			txs = []string{"genesis=tx"} // the first block may have some
		case n%7 == 0:
			txs = strangeTxs()
		case n%5 == 0: // empty
		case n%4 == 0:
			at = s.lastTime() // equal times are allowed
			txs = []string{"same=txs"}
		case n%3 == 0:
			txs = []string{"", fmt.Sprint("n", n, "=", n), ""}
			change = append(change, withVersion)
		default:
			txs = []string{fmt.Sprint("k", n, "=v"), fmt.Sprint("k", n, "=w"), "same=txs"}
		}
		s.next(at, txs, change...)
	}
}

// A chain of an ev-node sequencer is followed by P2P and DA, by P2P alone, by DA
// alone, and by an ev-node that has only a Tandem node for a peer.
func TestTandemFollowsEvNode(t *testing.T) {
	t.Parallel()
	const last = 40
	s := newSequencer(t, newProducer("serve-1", 0), "serve-1-headers", "serve-1-data")
	s.blocksOf(last)
	peers := []string{s.node.address(t)}
	// Whoever is there before the first block learns of it from the second.
	early := start(t, spec{name: "early", role: app.RoleFull, genesis: s.genesis, peers: peers})
	s.gossip(s.blocks[0])
	both := start(t, spec{name: "both", role: app.RoleFull, genesis: s.genesis, peers: peers, da: s.da.url})
	p2pOnly := start(t, spec{name: "p2p-only", role: app.RoleFull, genesis: s.genesis, peers: peers})
	daOnly := start(t, spec{name: "da-only", role: app.RoleFull, genesis: s.genesis, da: s.da.url})
	both.applied(1)
	p2pOnly.applied(1)
	behind := newEvNode(t, s.genesis.ChainID, both.address())
	behind.follow(t, 1)

	s.gossipSlowly(s.blocks[1:20], early)
	p2pOnly.applied(20)
	s.da.tick()
	s.da.put(s.junk()...)
	s.postData(2)                // before its header
	s.postHeaders(5, 3, 1, 4, 2) // in any order
	s.postData(1, 3, 4)          // after their headers; 5 has none
	s.postData(1)                // again
	s.postHeaders(3, 3)          // twice again
	s.da.put(s.header(s.at(6)[0]), s.body(s.at(6)[0]), s.header(s.at(6)[0]), s.body(s.at(6)[0]))
	s.da.put(&rpcBlob{Namespace: s.dataNS, Data: dataBlob(testutil.Key("stranger"), s.at(7)[0].data)}) // nobody else posts it
	s.postHeaders(7, 8)
	s.postData(8)
	daOnly.final(8)
	both.final(8)
	late := make([]uint64, 0, last)
	for height := uint64(9); height <= last; height++ {
		late = append(late, height)
	}
	s.gossipSlowly(s.blocks[20:], early)
	slices.Reverse(late)
	for _, height := range late[:20] {
		s.postData(height)
		s.postHeaders(height)
	}
	s.da.tick()
	s.postData(late[20:]...)
	s.postHeaders(late[20:]...)

	for _, n := range []*tandem{early, both, p2pOnly, daOnly} {
		n.applied(last)
		n.same(s.blocks, s.roots)
		n.unblamed()
	}
	both.final(last)
	daOnly.final(last)
	require.Positive(t, s.da.count("Subscribe"), "there is no header.Subscribe; blob.Subscribe does")
	require.Positive(t, p2pOnly.headerEx.Stats().Gossip["accept_new"]+p2pOnly.headerEx.Stats().Gossip["accept_ahead"])
	require.Zero(t, p2pOnly.pipeline.Snapshot().Final)
	for _, want := range s.blocks {
		got := behind.block(t, want.header.Height())
		require.Equal(t, want.header.Hash(), got.header.Hash())
		require.Equal(t, want.data.Hash(), got.data.Hash())
	}
	// Whoever comes when gossip is silent gets it all by ranges, hints included.
	tardy := start(t, spec{name: "tardy", role: app.RoleFull, genesis: s.genesis, peers: peers})
	tardy.applied(last)
	require.Positive(t, tardy.headerEx.Stats().Fetched)
	require.Positive(t, tardy.dataEx.Stats().Fetched)
	tardy.same(s.blocks, s.roots)
	tardy.unblamed()
}

// A chain from before headers were made smaller: legacy fields, signatures over
// either form, bare headers on DA until there were envelopes, one namespace for
// both, and a first height that is not 1.
func TestTandemFollowsLegacyChain(t *testing.T) {
	t.Parallel()
	const first, last = 5, 16
	p := newProducer("legacy-1", 1)
	p.genesis.InitialHeight = first
	s := newSequencer(t, p, "legacy-1")
	for height := uint64(first); height <= last; height++ {
		switch {
		case height%3 == 0:
			s.next(now(), []string{fmt.Sprint("k", height, "=v")}, withLegacy)
			s.signLegacy()
		case height%2 == 0:
			s.next(now(), nil, withLegacy)
		default:
			s.next(now(), []string{fmt.Sprint("k", height, "=v")})
		}
	}
	bare := func(b evBlock) *rpcBlob { return &rpcBlob{Namespace: s.headerNS, Data: encode(b.header.signed())} }
	for _, b := range s.at(5, 6, 7, 8, 9, 10, 11) {
		s.da.put(bare(b))
	}
	s.postData(5, 6, 7, 8, 9, 10, 11)
	s.da.put(s.header(s.at(12)[0]), s.header(s.at(13)[0]), s.body(s.at(13)[0]), s.body(s.at(12)[0]))
	s.da.put(bare(s.at(14)[0])) // too late for a bare one
	s.gossip(s.blocks...)
	change := func(c *app.Config) { c.Namespaces = app.Namespaces{Header: "legacy-1"} }
	p2pOnly := start(t, spec{name: "p2p-only", role: app.RoleFull, genesis: s.genesis, peers: []string{s.node.address(t)}})
	daOnly := start(t, spec{name: "da-only", role: app.RoleFull, genesis: s.genesis, da: s.da.url, change: change})
	p2pOnly.applied(last)
	p2pOnly.same(s.blocks, s.roots)
	p2pOnly.unblamed()
	daOnly.final(13)
	s.postHeaders(16, 14, 15)
	s.postData(14, 15, 16)
	daOnly.final(last)
	daOnly.same(s.blocks, s.roots)
	// Nothing of a legacy header is lost on the way.
	stored, err := daOnly.store.Headers().GetByHeight(t.Context(), 6)
	require.NoError(t, err)
	require.Equal(t, encode(s.at(6)[0].header.signed()), stored.Encode())
}

// ev-node relays and serves headers whose signature it did not check. A Tandem
// node takes none of them, and keeps the peer: it has done no wrong.
func TestForgedHeaderThroughEvNode(t *testing.T) {
	t.Parallel()
	s := newSequencer(t, newProducer("forged-1", 1), "forged-1-headers", "forged-1-data")
	for range 6 {
		s.next(now(), []string{"k=v"})
	}
	s.gossip(s.blocks[:3]...)
	n := start(t, spec{
		name: "both", role: app.RoleFull, genesis: s.genesis, peers: []string{s.node.address(t)}, da: s.da.url,
		allow: []string{"peer sent a bad item"},
	})
	n.applied(3)
	forged := s.at(4)[0].header.signed()
	forged.Signature = ed25519.Sign(testutil.Key("stranger"), encode(forged.GetHeader()))
	s.node.headers.publish(t, newHeader(&pb.P2PSignedHeader{
		Header: forged.GetHeader(), Signature: forged.GetSignature(), Signer: forged.GetSigner(), DaHeightHint: new(uint64),
	}))
	s.node.data.publish(t, s.at(4)[0].data)
	s.postHeaders(1, 2, 3, 4)
	s.postData(1, 2, 3, 4)
	n.final(4)
	s.gossip(s.at(5, 6)...)
	n.applied(6)
	n.same(s.blocks, s.roots)
	require.Len(t, n.network.Peers(), 1)
}
