package evnode

import (
	"context"
	"slices"
	"testing"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/routing"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/testutil"
)

// The readiness of an ev-node asks the DHT who provides the chain id: a Tandem
// peer does (evolve-wire §5.2).
func TestTandemIsFoundInTheDHT(t *testing.T) {
	t.Parallel()
	mock := newLocalMock(t)
	g := newGenesis("dht-1", 1)
	seq := start(t, spec{
		name: "sequencer", role: app.RoleSequencer, genesis: g, da: mock.url, signer: signer.NewLocal(testutil.Key("proposer")),
		change: func(c *app.Config) { c.P2P.DHT = true },
	})
	n := newEvNode(t, g.ChainID, seq.address())
	info, err := peer.AddrInfoFromString(seq.address())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	table, err := dht.New(n.host, dht.Mode(dht.ModeServer), dht.BootstrapPeers(*info))
	require.NoError(t, err)
	t.Cleanup(func() { _ = table.Close() })
	require.NoError(t, table.Bootstrap(ctx))
	again := time.NewTicker(2 * pace)
	defer again.Stop()
	// Protocols that came up after the first greeting are told a little later.
	testutil.Await(t, soon, func() <-chan time.Time { return again.C }, func() bool {
		protocols, err := n.host.Peerstore().GetProtocols(info.ID)
		require.NoError(t, err)
		for _, want := range []string{
			"/dht-1-headerSync/header-ex/v0.0.3", "/dht-1-dataSync/header-ex/v0.0.3", "/floodsub/1.0.0", "/ipfs/id/1.0.0",
			"/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/ipfs/kad/1.0.0",
		} {
			if !slices.Contains(texts(protocols), want) {
				return false
			}
		}
		return true
	})
	search := routing.NewRoutingDiscovery(table)
	for {
		found, err := search.FindPeers(ctx, g.ChainID)
		require.NoError(t, err)
		for p := range found {
			if p.ID == info.ID {
				return
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			require.Fail(t, "not found")
		}
	}
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
