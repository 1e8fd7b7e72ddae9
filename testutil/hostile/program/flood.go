package main

import (
	"context"
	"fmt"
	"io"
	"strings"
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

// noise sends all nodes gossip that brings nothing.
func (o options) noise(ctx context.Context, g block.Genesis, out io.Writer) error {
	var targets []peer.AddrInfo
	for text := range strings.SplitSeq(o.nodes, ",") {
		info, err := peer.AddrInfoFromString(text)
		if err != nil {
			return fmt.Errorf("-nodes has %q, want multiaddrs: %w", text, err)
		}
		targets = append(targets, *info)
	}
	ear, err := hostile.NewPeer(ctx, g.ChainID, libp2p.ListenAddrStrings(o.listen))
	if err != nil {
		return err
	}
	defer ear.Close()
	n := &hostile.Noise{Genesis: g, Listen: o.listen, Heard: ear.Heard, Rate: o.rate / len(targets)}
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() { _ = n.Ear(ctx, targets[len(targets)-1], targets[0]) })
	begun := false
	return o.rounds(ctx, func(round int) error {
		if !ear.Connected() {
			_ = ear.Connect(ctx, targets[0].Addrs[0].String()+"/p2p/"+targets[0].ID.String())
		}
		if ear.Header() == nil || len(ear.Heard(block.KindData)) == 0 {
			return nil
		}
		if !begun {
			begun = true
			for _, target := range targets {
				for _, own := range []bool{true, false} {
					all.Go(func() { n.Send(ctx, target, own) })
				}
			}
		}
		sent, thrown := n.Sent()
		relayed, most := n.Relayed()
		_, _ = fmt.Fprintf(out, "sent %d items, thrown out %d times, relayed %d items %d times at most, round %d\n", sent, thrown, relayed, most, round)
		return nil
	})
}
