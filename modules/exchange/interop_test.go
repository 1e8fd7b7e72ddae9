package exchange

import (
	"context"
	"testing"
	"time"

	header "github.com/celestiaorg/go-header"
	"github.com/celestiaorg/go-header/p2p"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/conngater"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// refClient returns go-header's client on a host of its own.
func refClient[H header.Header[H]](t *testing.T, networkID string, to *machine) *p2p.Exchange[H] {
	t.Helper()
	m := newFloodMachine(t)
	gater, err := conngater.NewBasicConnectionGater(dssync.MutexWrap(datastore.NewMapDatastore()))
	require.NoError(t, err)
	connect(t, m, to)
	ex, err := p2p.NewExchange[H](m.host, peer.IDSlice{to.host.ID()}, gater,
		p2p.WithNetworkID[p2p.ClientParameters](networkID), p2p.WithChainID(chainID))
	require.NoError(t, err)
	require.NoError(t, ex.Start(t.Context()))
	t.Cleanup(func() { _ = ex.Stop(context.WithoutCancel(t.Context())) })
	return ex
}

// go-header's client reads what we serve.
func TestReferenceClientReadsUs(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(200, 1)
	n := newDataNode(t, c, bs, func(p *DataParams) { p.Hint = func(h uint64) uint64 { return 1000 + h } })
	hx := refClient[*block.SignedHeader](t, "c1-headerSync", n.machine)
	dx := refClient[*block.Data](t, "c1-dataSync", n.machine)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	head, err := hx.Head(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 200, head.Height())
	one, err := hx.GetByHeight(ctx, 7)
	require.NoError(t, err)
	require.Equal(t, bs[6].Header.Digest(), one.Digest())
	hs, err := hx.GetRangeByHeight(ctx, bs[0].Header, 201)
	require.NoError(t, err)
	require.Len(t, hs, 199)
	got, err := hx.Get(ctx, bs[4].Header.Hash())
	require.NoError(t, err)
	require.Equal(t, bs[4].Header.Digest(), got.Digest())
	_, err = hx.GetByHeight(ctx, 201)
	require.ErrorIs(t, err, header.ErrNotFound)
	ds, err := dx.GetRangeByHeight(ctx, bs[0].Data, 101)
	require.NoError(t, err)
	require.Len(t, ds, 99)
	require.Equal(t, bs[99].Data.Digest(), ds[98].Digest())
	require.EqualValues(t, 1100, ds[98].DAHint)
}

// We read what go-header's server serves.
func TestWeReadReferenceServer(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(200, 1)
	m := newFloodMachine(t)
	hs, err := p2p.NewExchangeServer[*block.SignedHeader](m.host, newStore[*block.SignedHeader](testutil.Headers(bs)...),
		p2p.WithNetworkID[p2p.ServerParameters]("c1-headerSync"))
	require.NoError(t, err)
	ds, err := p2p.NewExchangeServer[*block.Data](m.host, newStore[*block.Data](testutil.DataOf(bs)...),
		p2p.WithNetworkID[p2p.ServerParameters]("c1-dataSync"))
	require.NoError(t, err)
	require.NoError(t, hs.Start(t.Context()))
	require.NoError(t, ds.Start(t.Context()))
	b := newDataNode(t, c, nil)
	connect(t, b.machine, m)
	b.store.reaches(t, 200)
	b.data.reaches(t, 200)
	require.Equal(t, bs[199].Data.Digest(), b.data.items[200].Digest())
}

// refSubscriber returns go-header's gossip on a FloodSub peer.
func refSubscriber[H header.Header[H]](t *testing.T, m *machine, networkID string) (*p2p.Subscriber[H], header.Subscription[H]) {
	t.Helper()
	sub, err := p2p.NewSubscriber[H](m.ps, pubsub.DefaultMsgIdFn, p2p.WithSubscriberNetworkID(networkID))
	require.NoError(t, err)
	require.NoError(t, sub.Start(t.Context()))
	require.NoError(t, sub.SetVerifier(func(context.Context, H) error { return nil }))
	s, err := sub.Subscribe()
	require.NoError(t, err)
	t.Cleanup(s.Cancel)
	return sub, s
}

// Gossip passes between us and go-header on FloodSub, both ways, both kinds.
func TestReferenceGossipBothWays(t *testing.T) {
	c := testutil.NewChain(chainID)
	bs := c.Blocks(4, 1)
	b := newDataNode(t, c, bs[:1])
	m := newFloodMachine(t)
	hsub, hs := refSubscriber[*block.SignedHeader](t, m, "c1-headerSync")
	dsub, ds := refSubscriber[*block.Data](t, m, "c1-dataSync")
	connect(t, b.machine, m)
	meshed(t, b.ex, 1)
	meshed(t, b.dx, 1)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	eventually(t, func() bool { return len(m.ps.ListPeers(b.dx.Topic())) == 1 && len(m.ps.ListPeers(b.ex.Topic())) == 1 }, "no peer")
	require.NoError(t, dsub.Broadcast(ctx, bs[1].Data))
	require.NoError(t, hsub.Broadcast(ctx, bs[1].Header))
	b.store.reaches(t, 2)
	b.data.reaches(t, 2)
	next := func() (*block.SignedHeader, *block.Data) {
		h, err := hs.NextHeader(ctx)
		require.NoError(t, err)
		d, err := ds.NextHeader(ctx)
		require.NoError(t, err)
		return h, d
	}
	next() // its own
	require.NoError(t, b.store.Append(ctx, bs[2].Header))
	require.NoError(t, b.data.Append(ctx, bs[2].Data))
	require.NoError(t, b.ex.Broadcast(ctx, bs[2].Header))
	require.NoError(t, b.dx.Broadcast(ctx, bs[2].Data))
	h, d := next()
	require.Equal(t, bs[2].Header.Digest(), h.Digest())
	require.Equal(t, bs[2].Data.Digest(), d.Digest())
}

// Bodies gossiped and served by real nodes are followed to the last one.
func TestFollowsCapturedChain(t *testing.T) {
	g := loadGolden(t)
	c := testutil.NewChain(g.ChainID)
	c.Genesis.ProposerAddress = g.Genesis.ProposerAddress
	now := func() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }
	h := newHeaderNode(t, c, nil, func(p *HeaderParams) { p.Now = now })
	b := dataNodeOn(t, h, c, nil, func(p *DataParams) { p.Now = now })
	header, data := publisher(t, b.ex.Topic(), b.machine), publisher(t, b.dx.Topic(), b.machine)
	for _, blk := range g.Blocks {
		header(unhex(t, blk.Header))
		data(unhex(t, blk.Data))
	}
	last := g.Blocks[len(g.Blocks)-1]
	b.store.reaches(t, last.Height)
	b.data.reaches(t, last.Height)
	require.Zero(t, b.ex.Stats().Lies+b.dx.Stats().Lies)
}
