package exchange

import (
	"testing"
	"testing/synctest"
	"time"

	header "github.com/celestiaorg/go-header"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// A burst of 300 headers, and of 300 data items beside them, ends up stored
// without a range request for each.
func TestBurstOf300(t *testing.T) {
	c := testutil.NewChain(chainID)
	a, b := newDataNode(t, c, nil), newDataNode(t, c, nil)
	connect(t, a.machine, b.machine)
	meshed(t, a.ex, 1)
	meshed(t, a.dx, 1)
	bs := c.Blocks(300, 1)
	for _, blk := range bs {
		require.NoError(t, a.store.Append(t.Context(), blk.Header))
		require.NoError(t, a.data.Append(t.Context(), blk.Data))
		require.NoError(t, a.ex.Broadcast(t.Context(), blk.Header))
		require.NoError(t, a.dx.Broadcast(t.Context(), blk.Data))
	}
	b.store.reaches(t, 300)
	b.data.reaches(t, 300)
	hs, ds := b.ex.Stats(), b.dx.Stats()
	t.Logf("headers: %d requests, %d fetched, gossip %v", hs.Requests, hs.Fetched, hs.Gossip)
	t.Logf("data: %d requests, %d fetched, gossip %v", ds.Requests, ds.Fetched, ds.Gossip)
	// A handful on an idle machine; one per item is what must not happen.
	require.LessOrEqual(t, hs.Requests, uint64(60))
	require.LessOrEqual(t, ds.Requests, uint64(60))
	require.Zero(t, hs.Lies+ds.Lies)
}

// A-B-C: B has the block from DA first, C gets the gossip all the same.
func TestKnownIsRelayed(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(2, 1)
	a, b, d := newFloodNode(t, c, bs), newFloodNode(t, c, bs), newFloodNode(t, c, bs[:1])
	// Without the range protocol only gossip can reach the third.
	for _, n := range []*dataNode{a, b} {
		n.host.RemoveStreamHandler(n.ex.Protocol())
		n.host.RemoveStreamHandler(n.dx.Protocol())
	}
	connect(t, a.machine, b.machine)
	connect(t, b.machine, d.machine)
	meshed(t, a.ex, 1)
	meshed(t, b.ex, 2)
	meshed(t, a.dx, 1)
	meshed(t, b.dx, 2)
	require.NoError(t, a.dx.Broadcast(t.Context(), bs[1].Data)) // data before header
	require.NoError(t, a.ex.Broadcast(t.Context(), bs[1].Header))
	d.store.reaches(t, 2)
	d.data.reaches(t, 2)
	eventually(t, func() bool {
		return b.ex.Stats().Gossip["accept_known"] == 1 && b.dx.Stats().Gossip["accept_known"] == 1
	}, "not relayed as known")
	require.Zero(t, b.ex.Stats().Appended)
}

// publisher gossips raw bytes.
func publisher(t *testing.T, topic string, to *machine) func([]byte) {
	t.Helper()
	m := newFloodMachine(t)
	tp, err := m.ps.Join(topic)
	require.NoError(t, err)
	_, err = tp.Subscribe()
	require.NoError(t, err)
	connect(t, m, to)
	eventually(t, func() bool { return len(tp.ListPeers()) == 1 }, "no peer on topic")
	return func(b []byte) { require.NoError(t, tp.Publish(t.Context(), b)) }
}

// T4 and its kind: what is not signed by the proposer of this chain is never
// stored, never relayed and never a target.
func TestForgedGossip(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	far := bs[4].Header.Header
	far.Height = 1_000_000
	next := c.Next().Header
	stranger := testutil.Sign(testutil.Key("stranger"), next.Header)
	foreign := testutil.NewChain("c2")
	future := next.Header
	future.Time = uint64(clock().Add(time.Hour).UnixNano())
	relabelled := block.NewSignedHeader(next.Header, next.Signature, next.Signer)
	relabelled.Signature = append([]byte{next.Signature[0] ^ 1}, next.Signature[1:]...)
	for name, tc := range map[string]struct {
		body    []byte
		verdict string
	}{
		"garbage":          {[]byte{0xff, 0x01, 0x02}, "reject_decode"},
		"unsigned far":     {block.NewSignedHeader(far, nil, next.Signer).EncodeP2P(), "reject_invalid"},
		"mis-signed far":   {block.NewSignedHeader(far, next.Signature, next.Signer).EncodeP2P(), "reject_invalid"},
		"stranger":         {stranger.EncodeP2P(), "reject_invalid"},
		"foreign":          {foreign.Blocks(6, 0)[5].Header.EncodeP2P(), "reject_invalid"},
		"future":           {testutil.Sign(c.Key, future).EncodeP2P(), "ignore_future"},
		"wrong signature":  {relabelled.EncodeP2P(), "reject_invalid"},
		"known, re-signed": {block.NewSignedHeader(bs[2].Header.Header, next.Signature, next.Signer).EncodeP2P(), "reject_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newHeaderNode(t, c, bs)
			publish := publisher(t, b.ex.Topic(), b.machine)
			publish(tc.body)
			eventually(t, func() bool { return b.ex.Stats().Gossip[tc.verdict] == 1 }, "%s: %v", name, b.ex.Stats().Gossip)
			publish(next.EncodeP2P())
			b.store.reaches(t, 6)
			require.EqualValues(t, 6, b.ex.Status().Target)
			require.Equal(t, next.Digest(), b.store.items[6].Digest())
			require.Zero(t, b.conflictCount())
		})
	}
}

func TestGossipedConflict(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	fork := testutil.NewChain(chainID)
	for range 4 {
		fork.Next()
	}
	two := fork.Next([]byte("second"))
	b := newHeaderNode(t, c, bs)
	publish := publisher(t, b.ex.Topic(), b.machine)
	publish(two.Header.EncodeP2P())
	eventually(t, func() bool { return b.conflictCount() == 1 }, "no conflict")
	publish(two.Header.EncodeP2P())
	eventually(t, func() bool { return b.ex.Stats().Gossip["ignore_conflict"] == 2 }, "not judged")
	require.Equal(t, 1, b.conflictCount(), "one report per item")
	require.Equal(t, bs[4].Header.Digest(), b.store.items[5].Digest())
	// A header that follows the second one does not join ours.
	publish(fork.Next().Header.EncodeP2P())
	eventually(t, func() bool { return b.ex.Stats().Gossip["ignore_fork"] == 1 }, "not judged")
	require.EqualValues(t, 5, b.store.Height())
}

// cutBack is a store that was cut back since its height was read.
type cutBack struct {
	*memStore[*block.SignedHeader]
	was uint64
}

func (s cutBack) Height() uint64 { return s.was }

// A rollback may cut the store back at any moment. Nobody waits, with the lock
// held, for what was there a moment ago.
func TestCutBackStoreIsNotWaitedFor(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(5, 0)
	synctest.Test(t, func(t *testing.T) {
		e := NewHeaders(HeaderParams{
			Store: cutBack{newStore(testutil.Headers(bs[:2])...), 5}, Genesis: c.Genesis, Config: Default(),
		})
		v, err := e.place(t.Context(), bs[3].Header, "")
		require.ErrorIs(t, err, header.ErrNotFound)
		require.Equal(t, ignoreOld, v)
		require.False(t, e.stored(t.Context(), bs[3].Header))
	})
}

func TestOutOfOrderIsParked(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(20, 1)
	b := newDataNode(t, c, bs[:10])
	header, data := publisher(t, b.ex.Topic(), b.machine), publisher(t, b.dx.Topic(), b.machine)
	for i := 19; i >= 10; i-- {
		data(bs[i].Data.EncodeP2P())
		header(bs[i].Header.EncodeP2P())
	}
	b.store.reaches(t, 20)
	b.data.reaches(t, 20)
	require.Zero(t, b.ex.Stats().Requests)
	_, bytes := b.ex.park.size()
	require.Zero(t, bytes)
}

// Parked data with a false link is rebuilt: its transactions are proven.
func TestParkedDataIsMended(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(3, 1)
	b := newDataNode(t, c, nil)
	require.NoError(t, b.store.Append(t.Context(), testutil.Headers(bs)...))
	data := publisher(t, b.dx.Topic(), b.machine)
	m := *bs[2].Data.Metadata
	m.LastDataHash = make([]byte, 32)
	data(block.NewData(&m, bs[2].Data.Txs).EncodeP2P())
	eventually(t, func() bool { return b.dx.Stats().Gossip["accept_ahead"] == 1 }, "not parked")
	data(bs[0].Data.EncodeP2P())
	data(bs[1].Data.EncodeP2P())
	b.data.reaches(t, 3)
	require.Equal(t, bs[2].Data.Digest(), b.data.items[3].Digest())
}

func TestForgedData(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(3, 1)
	b := newDataNode(t, c, bs[:2])
	require.NoError(t, b.store.Append(t.Context(), bs[2].Header))
	data := publisher(t, b.dx.Topic(), b.machine)
	wrongLink := *bs[2].Data.Metadata
	wrongLink.LastDataHash = make([]byte, 32)
	known := *bs[1].Data.Metadata
	known.LastDataHash = make([]byte, 32)
	far := *bs[2].Data.Metadata
	far.Height = 100_000
	for _, tc := range []struct {
		d       *block.Data
		verdict string
		n       uint64
	}{
		{block.NewData(bs[2].Data.Metadata, [][]byte{[]byte("other")}), "reject_invalid", 1},
		{block.NewData(nil, bs[2].Data.Txs), "reject_invalid", 2},
		{block.NewData(&wrongLink, bs[2].Data.Txs), "reject_link", 1},
		{block.NewData(&known, bs[1].Data.Txs), "reject_link", 2},
		{block.NewData(&far, bs[2].Data.Txs), "ignore_far", 1},
	} {
		data(tc.d.EncodeP2P())
		eventually(t, func() bool { return b.dx.Stats().Gossip[tc.verdict] == tc.n }, "%s: %v", tc.verdict, b.dx.Stats().Gossip)
	}
	require.EqualValues(t, 2, b.data.Height())
	data(bs[2].Data.EncodeP2P())
	b.data.reaches(t, 3)
}

// Empty data is made from headers; without a peer, without gossip.
func TestEmptyDataIsMade(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(700, 0)
	b := newDataNode(t, c, nil)
	require.NoError(t, b.store.Append(t.Context(), testutil.Headers(bs)...))
	b.data.reaches(t, 700)
	require.Equal(t, bs[699].Data.Digest(), b.data.items[700].Digest())
	require.Zero(t, b.dx.Stats().Requests)
}

func TestMixedDataByRange(t *testing.T) {
	c := testutil.NewChain(chainID)
	var bs []block.Block
	for i := range 60 {
		bs = append(bs, c.Blocks(1+i%7, (i/2)%2)...)
	}
	a, b := newDataNode(t, c, bs), newDataNode(t, c, nil)
	connect(t, b.machine, a.machine)
	b.data.reaches(t, uint64(len(bs)))
	full := uint64(0)
	for _, blk := range bs {
		if !blk.Header.IsEmpty() {
			full++
		}
		require.Equal(t, blk.Data.Digest(), b.data.items[blk.Height()].Digest())
	}
	require.Equal(t, full, b.dx.Stats().Fetched, "empty data is never fetched")
}

// At the tip a gap in data waits for gossip before it is requested.
func TestGraceAtTheTip(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(2, 1)
	a := newDataNode(t, c, bs)
	b := newDataNode(t, c, bs[:1], func(p *DataParams) { p.Config.Grace = time.Hour })
	connect(t, b.machine, a.machine)
	meshed(t, a.dx, 1)
	b.store.reaches(t, 2)
	eventually(t, func() bool { return b.dx.Status().Target == 2 }, "gap not seen")
	require.NoError(t, a.dx.Broadcast(t.Context(), bs[1].Data))
	b.data.reaches(t, 2)
	require.Zero(t, b.dx.Stats().Requests)
}

// A block of nearly 5 MiB passes by gossip and by range.
func TestBigBlock(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := []block.Block{c.Next(make([]byte, 5<<20))}
	a, b := newDataNode(t, c, nil), newDataNode(t, c, nil)
	connect(t, a.machine, b.machine)
	meshed(t, a.ex, 1)
	meshed(t, a.dx, 1)
	require.NoError(t, a.store.Append(t.Context(), bs[0].Header))
	require.NoError(t, a.data.Append(t.Context(), bs[0].Data))
	require.NoError(t, a.ex.Broadcast(t.Context(), bs[0].Header))
	require.NoError(t, a.dx.Broadcast(t.Context(), bs[0].Data))
	b.data.reaches(t, 1)
	eventually(t, func() bool { return len(b.dx.Stats().Gossip) == 1 }, "gossip goes on")
	d := newDataNode(t, c, nil)
	connect(t, d.machine, b.machine)
	d.data.reaches(t, 1)
	require.EqualValues(t, 1, d.dx.Stats().Fetched)
}

func TestBroadcastWaitsAndStops(t *testing.T) {
	c := testutil.NewChain(chainID)
	b := c.Next()
	e := NewHeaders(HeaderParams{Store: newStore[*block.SignedHeader](), Genesis: c.Genesis, Config: Default()})
	ctx, cancel := contextWithTimeout(t, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, e.Broadcast(ctx, b.Header), ctx.Err())
	close(e.stopped)
	require.ErrorIs(t, e.Broadcast(t.Context(), b.Header), ErrStopped)
}

func TestVerdictNames(t *testing.T) {
	for v := range verdicts {
		require.NotEmpty(t, v.String())
	}
	require.Equal(t, pubsub.ValidationAccept, (&Exchange[*block.Data]{}).verdict(acceptNew, "", false, nil))
}
