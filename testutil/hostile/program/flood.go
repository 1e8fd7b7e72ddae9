package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/hostile"
)

// How many peers flood a node at once.
const (
	gossipers = 3
	halves    = 3
)

// flood sends one node as much as it takes.
func (o options) flood(ctx context.Context, g block.Genesis, out io.Writer) error {
	target, err := peer.AddrInfoFromString(o.nodes)
	if err != nil {
		return fmt.Errorf("-nodes is %q, want one multiaddr: %w", o.nodes, err)
	}
	ear, err := hostile.NewPeer(ctx, g.ChainID, libp2p.ListenAddrStrings(o.listen))
	if err != nil {
		return err
	}
	defer ear.Close()
	f := &hostile.Flood{Genesis: g, Target: *target, Listen: o.listen, Like: ear.Header, Size: o.size}
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	begun := false
	return o.rounds(ctx, func(round int) error {
		_ = ear.Connect(ctx, o.nodes) // it may be full
		if ear.Header() == nil {
			return nil
		}
		if !begun {
			begun = true
			for range gossipers {
				all.Go(func() { f.Gossip(ctx) })
			}
			for range halves {
				all.Go(func() { f.Halves(ctx) })
			}
		}
		_, _ = fmt.Fprintf(out, "sent %d MiB, round %d\n", f.Sent()>>20, round)
		return nil
	})
}

// dump posts large blobs.
func (o options) dump(ctx context.Context, g block.Genesis, out io.Writer) error {
	c, err := da.NewCelestia(o.da, da.Default())
	if err != nil {
		return err
	}
	defer c.Close()
	p, f := hostile.NewPoster(c, g), hostile.NewForger(g, o.seed)
	return o.rounds(ctx, func(round int) error {
		all := f.Bulk(uint64(round), time.Now(), o.size) //nolint:gosec // rounds begin with 1
		if err := p.Post(ctx, all...); err != nil {
			return nil //nolint:nilerr // DA may be away
		}
		_, _ = fmt.Fprintf(out, "posted %d blobs of %d bytes, round %d\n", len(all), o.size, round)
		return nil
	})
}
