package testnet

import (
	"context"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	"github.com/marcopolo/simnet"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/testutil/hostile"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// strangerIPs is where the addresses of hosts begin that are no nodes.
const strangerIPs = 1000

// Hostile adds a peer that checks nothing and sends what it is told to. It is
// connected to nobody.
func (n *Net) Hostile() *hostile.Peer {
	n.t.Helper()
	p, err := hostile.NewPeer(context.Background(), n.Genesis.ChainID, n.strangerOptions()...)
	require.NoError(n.t, err)
	n.t.Cleanup(p.Close)
	return p
}

// Stranger adds a peer that serves nothing until it is told how.
func (n *Net) Stranger() *stream.Peer {
	n.t.Helper()
	p, err := stream.NewPeer(context.Background(), stream.Config{ChainID: n.Genesis.ChainID, Options: n.strangerOptions()})
	require.NoError(n.t, err)
	n.t.Cleanup(p.Close)
	return p
}

// strangerOptions puts a host that is no node on the network.
func (n *Net) strangerOptions() []libp2p.Option {
	n.strangers++
	ip := simnet.IntToPublicIPv4(strangerIPs + n.strangers).String()
	return append((&port{wires: n.wires}).options(), libp2p.ListenAddrStrings(listenAddress(ip)))
}

// Poster returns somebody who posts to the chain's namespaces.
func (n *Net) Poster() *hostile.Poster { return hostile.NewPoster(n.DA.Client(), n.Genesis) }

// P2PNoise makes all links between nodes unreliable; the zero Noise ends that.
func (n *Net) P2PNoise(noise Noise, seed uint64) { n.wires.setNoise(noise, seed) }

// DANoise makes the node's way to DA unreliable: calls are lost, answers come
// late, and blobs come twice. The zero Noise ends that.
func (x *Node) DANoise(noise Noise, seed uint64) { x.da.setNoise(noise, seed) }

// Dial makes a hostile peer connect to all running nodes that have peers. Nodes
// may refuse it.
func (n *Net) Dial(p *hostile.Peer) {
	const patience = 5 * time.Second // virtual
	for _, x := range n.nodes {
		if !x.Running() || !x.spec.p2p {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := p.Connect(ctx, x.Address()); err != nil {
			n.Logs.Logger().Named("hostile").Debug("no connection to " + x.Name() + ": " + err.Error())
		}
		cancel()
	}
}
