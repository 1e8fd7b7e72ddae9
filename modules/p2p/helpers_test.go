package p2p_test

import (
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/p2p"
)

func hostInfo(n *p2p.Node) *peer.AddrInfo { return host.InfoFromHost(n.Host()) }
