package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	header "github.com/celestiaorg/go-header"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	mocknet "github.com/libp2p/go-libp2p/p2p/net/mock"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/instrumented"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/testutil/bench/report"
)

// Shape of the network in memory.
const (
	linkDelay   = 5 * time.Millisecond
	linksEach   = 4 // made by each node; it has about twice as many
	gossipEvery = 100 * time.Millisecond
)

// measureGossip sends headers through networks of nodes in this process and
// takes the time until each of them has stored them.
func measureGossip(ctx context.Context, s *session) error {
	n := pick(s, 30, 5)
	_, chain, err := blocks(ctx, chainSpec{Blocks: n + 1, Executor: noop})
	if err != nil {
		return err
	}
	for _, nodes := range []int{10, 50, 100} {
		name := fmt.Sprintf("gossip to %d nodes, links of %s", nodes, linkDelay)
		key := fmt.Sprintf("gossip/%d", nodes)
		for range s.runs {
			took, cpu, err := spread(ctx, chain, nodes)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			s.add(report.Figure{Key: key + "/p50", Name: name + ": p50", Unit: "ms"}, quantile(took, half), cpu)
			s.addTail(report.Figure{Key: key, Name: name, Unit: "ms"}, took)
			s.add(report.Figure{Key: key + "/reached", Name: name + ": reached by gossip", Unit: "%"},
				100*float64(len(took))/float64(n*nodes), noCPU) // percent
		}
		for _, q := range []string{"p50", "p99"} {
			s.point(report.Plot{File: "gossip", Title: "Spread of a header", XLabel: "nodes", YLabel: "ms"},
				q, float64(nodes), s.median(key+"/"+q))
		}
	}
	return nil
}

// gossiper is a node as far as gossip of headers goes.
type gossiper struct {
	host   host.Host
	pubsub *pubsub.PubSub
	db     *leveldb.DB
	store  header.Store[*block.SignedHeader]
	sub    *notifier.Subscription
	ex     *exchange.Exchange[*block.SignedHeader]
}

// Host implements exchange.Network.
func (g *gossiper) Host() host.Host { return g.host }

// PubSub implements exchange.Network.
func (g *gossiper) PubSub() *pubsub.PubSub { return g.pubsub }

// Judge implements exchange.Proposers.
func (g *gossiper) Judge(uint64, []byte) block.Standing { return block.Expected }

// Changed implements exchange.Proposers.
func (g *gossiper) Changed() <-chan struct{} { return nil }

func newGossiper(ctx context.Context, net mocknet.Mocknet, g block.Genesis) (*gossiper, error) {
	x := new(gossiper)
	var err error
	if x.host, err = net.GenPeer(); err != nil {
		return x, fmt.Errorf("node: %w", err)
	}
	if x.pubsub, err = pubsub.NewGossipSub(ctx, x.host, pubsub.WithFloodPublish(true)); err != nil {
		return x, fmt.Errorf("node: %w", err)
	}
	store, db, err := memoryStore(ctx)
	if err != nil {
		return x, err
	}
	events := notifier.New()
	x.db, x.sub = db, events.Subscribe(notifier.Types(notifier.Header))
	x.store = instrumented.Wrap[*block.SignedHeader](store.Headers(), events, notifier.Header)
	x.ex = exchange.NewHeaders(exchange.HeaderParams{
		Network: x, Store: x.store, Genesis: g, Proposers: x, Config: exchange.Default(),
	})
	return x, nil
}

// spread returns how many milliseconds each node took to store each header. The
// first header only tells that all are connected.
func spread(ctx context.Context, chain []block.Block, nodes int) (took []float64, cpu float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	net := mocknet.New()
	all := make([]*gossiper, 0, nodes+1)
	defer func() {
		cancel()
		running.Wait()
		for _, x := range all {
			err = errors.Join(err, x.db.Close())
		}
		err = errors.Join(err, net.Close())
	}()
	net.SetLinkDefaults(mocknet.LinkOptions{Latency: linkDelay})
	for range nodes + 1 {
		x, err := newGossiper(ctx, net, genesisOf(chain))
		if err != nil {
			return nil, 0, err
		}
		all = append(all, x)
		running.Go(func() { _ = x.ex.Run(ctx) })
	}
	if err := connect(net, all); err != nil {
		return nil, 0, err
	}
	if err := warmUp(ctx, all, chain[0].Header); err != nil {
		return nil, 0, err
	}
	used := cpuSeconds()
	sent, err := all[0].send(ctx, chain[1:])
	if err != nil {
		return nil, 0, err
	}
	for _, x := range all[1:] {
		took = append(took, x.heard(sent)...)
	}
	return took, cpuSeconds() - used, nil
}

// send stores and publishes headers, waits until they are everywhere, and returns
// when each was sent.
func (g *gossiper) send(ctx context.Context, chain []block.Block) (map[uint64]time.Time, error) {
	sent := make(map[uint64]time.Time)
	for _, b := range chain {
		if err := pause(ctx, gossipEvery); err != nil {
			return nil, err
		}
		if err := g.store.Append(ctx, b.Header); err != nil {
			return nil, fmt.Errorf("append: %w", err)
		}
		sent[b.Height()] = time.Now()
		if err := g.ex.Broadcast(ctx, b.Header); err != nil {
			return nil, fmt.Errorf("broadcast: %w", err)
		}
	}
	return sent, pause(ctx, time.Second)
}

// heard returns how many milliseconds after it was sent each header was stored.
func (g *gossiper) heard(sent map[uint64]time.Time) (took []float64) {
	for e, ok := g.sub.Next(); ok; e, ok = g.sub.Next() {
		if at, ok := sent[e.Height]; ok {
			took = append(took, float64(e.Timestamp.Sub(at))/float64(time.Millisecond))
		}
	}
	return took
}

func genesisOf(chain []block.Block) block.Genesis {
	h := chain[0].Header
	return block.Genesis{
		ChainID: h.ChainID(), StartTime: h.Time(), InitialHeight: h.Height(), ProposerAddress: h.Header.ProposerAddress,
	}
}

// connect makes a ring, so that nobody is alone, and random links across it.
func connect(net mocknet.Mocknet, all []*gossiper) error {
	random := rand.New(rand.NewPCG(1, uint64(len(all)))) //nolint:gosec // the same network each time
	for i := range all {
		for j := range linksEach {
			k := (i + 1) % len(all)
			if j > 0 {
				k = random.IntN(len(all))
			}
			if k == i {
				continue
			}
			if _, err := net.LinkPeers(all[i].host.ID(), all[k].host.ID()); err != nil {
				return fmt.Errorf("link: %w", err)
			}
			if _, err := net.ConnectPeers(all[i].host.ID(), all[k].host.ID()); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
		}
	}
	return nil
}

// warmUp waits until every node has the first header, which late ones ask for.
func warmUp(ctx context.Context, all []*gossiper, first *block.SignedHeader) error {
	if err := pause(ctx, settling); err != nil { // the meshes form
		return err
	}
	if err := all[0].store.Append(ctx, first); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := all[0].ex.Broadcast(ctx, first); err != nil {
		return fmt.Errorf("broadcast: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // for a network that does not form
	defer cancel()
	for _, x := range all {
		if _, err := x.store.GetByHeight(ctx, first.Height()); err != nil {
			return fmt.Errorf("first header: %w", err)
		}
	}
	return nil
}
