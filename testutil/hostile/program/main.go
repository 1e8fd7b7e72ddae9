// Command program attacks nodes until it is told to stop, as a peer or as a poster
// to DA:
//
//	program peer   -genesis genesis.json -listen /ip4/127.0.0.1/tcp/0 -nodes /ip4/…/p2p/…
//	program poster -genesis genesis.json -da http://127.0.0.1:26658
//	program flood  -genesis genesis.json -listen … -nodes … -size 1048576
//	program dump   -genesis genesis.json -da … -size 1048576
//	program noise  -genesis genesis.json -listen … -nodes sequencer,follower -rate 1000
//
// The first two try to deceive, the next two to be too much, the last sends gossip that
// brings nothing, and counts what of it comes back from the last of the nodes.
//
// It prints a line per round: what it sent, and how often.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	libp2p "github.com/libp2p/go-libp2p"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil/hostile"
)

type options struct {
	genesis, listen, nodes, da string
	every                      time.Duration
	seed                       uint64
	size, rate                 int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New(`want "peer", "poster", "flood", "dump" or "noise"`)
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.genesis, "genesis", "", "genesis file of the chain")
	flags.StringVar(&o.listen, "listen", "/ip4/127.0.0.1/tcp/0", "multiaddr to listen at")
	flags.StringVar(&o.nodes, "nodes", "", "multiaddrs of nodes, with commas between")
	flags.StringVar(&o.da, "da", "", "URL of the DA node")
	flags.DurationVar(&o.every, "every", 100*time.Millisecond, "time between rounds")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of the forger")
	flags.IntVar(&o.rate, "rate", 1000, "items per second, over all nodes, that peers relay, and as many that they make")
	flags.IntVar(&o.size, "size", 1<<20, "bytes of one large item")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	g, err := block.LoadGenesis(o.genesis)
	if err != nil {
		return err
	}
	switch args[0] {
	case "peer":
		return o.peer(ctx, g, out)
	case "poster":
		return o.poster(ctx, g, out)
	case "flood":
		return o.flood(ctx, g, out)
	case "dump":
		return o.dump(ctx, g, out)
	case "noise":
		return o.noise(ctx, g, out)
	}
	return fmt.Errorf(`%q is unknown, want "peer", "poster", "flood", "dump" or "noise"`, args[0])
}

// peer forges heads far ahead and right ahead, squats on data, and lies when it is
// asked for ranges.
func (o options) peer(ctx context.Context, g block.Genesis, out io.Writer) error {
	p, err := hostile.NewPeer(ctx, g.ChainID, libp2p.ListenAddrStrings(o.listen))
	if err != nil {
		return err
	}
	defer p.Close()
	f := hostile.NewForger(g, o.seed)
	lies := p.Lies(f, time.Now)
	return o.rounds(ctx, func(round int) error {
		for address := range strings.SplitSeq(o.nodes, ",") {
			_ = p.Connect(ctx, address) // it may be banned
		}
		like := p.Header()
		if like == nil {
			return nil
		}
		p.Serve(block.KindHeader, lies[round%len(lies)])
		p.Serve(block.KindData, lies[round%len(lies)])
		all := slices.Concat(
			f.Heads(like, hostile.FarHeight, time.Now()), f.Heads(like, like.Height()+1, time.Now()),
			f.Data(like.Height()+1, time.Now(), 64<<10),
		)
		for _, x := range all {
			if err := p.Publish(ctx, x); err != nil {
				return err
			}
		}
		_, _ = fmt.Fprintf(out, "sent %d items after block %d, round %d\n", len(all), like.Height(), round)
		return nil
	})
}

// poster posts forgeries, replays, and data for blocks to come.
func (o options) poster(ctx context.Context, g block.Genesis, out io.Writer) error {
	c, err := da.NewCelestia(o.da, da.Default())
	if err != nil {
		return err
	}
	defer c.Close()
	p, f := hostile.NewPoster(c, g), hostile.NewForger(g, o.seed)
	return o.rounds(ctx, func(round int) error {
		seen, err := p.Look(ctx, 4)
		if err != nil || seen.Newest == nil {
			return nil //nolint:nilerr // DA may be away
		}
		height := seen.Newest.Height() + 1
		all := slices.Concat(
			f.Blobs(seen.Newest, seen.Txs, height, time.Now()), f.Blobs(seen.Newest, seen.Txs, height+3, time.Now()),
			f.Blobs(seen.Newest, seen.Txs, hostile.FarHeight, time.Now()), seen.Blobs[:min(len(seen.Blobs), 16)],
		)
		if err := p.Post(ctx, all...); err != nil {
			return nil //nolint:nilerr // DA may be away
		}
		_, _ = fmt.Fprintf(out, "posted %d blobs after block %d, round %d\n", len(all), height-1, round)
		return nil
	})
}

func (o options) rounds(ctx context.Context, attack func(round int) error) error {
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for round := 1; ; round++ {
		if err := attack(round); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
