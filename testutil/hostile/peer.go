package hostile

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// heardMost is how many honest items of a kind a peer remembers, to replay them.
const heardMost = 32

// Answer is what a peer says to a range request for amount items from origin on;
// origin 0 asks for the head. Each element is the body of one frame. A nil answer
// leaves the request without one until the asker gives up.
type Answer func(origin, amount uint64) [][]byte

// Peer is in the topics of a chain and checks nothing.
type Peer struct {
	wire *stream.Peer
	ctx  context.Context //nolint:containedctx // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	heard map[block.Kind][][]byte
}

// wireKind is a kind as it appears in topics and protocols.
func wireKind(k block.Kind) stream.Kind {
	if k == block.KindData {
		return stream.Data
	}
	return stream.Headers
}

// NewPeer starts a peer of the chain called chain. Options say where it listens.
func NewPeer(ctx context.Context, chain string, opts ...libp2p.Option) (*Peer, error) {
	ctx, stop := context.WithCancel(ctx)
	wire, err := stream.NewPeer(ctx, stream.Config{ChainID: chain, Mesh: true, Options: opts})
	if err != nil {
		stop()
		return nil, err //nolint:wrapcheck // it says what is wrong
	}
	p := &Peer{wire: wire, ctx: ctx, stop: stop, heard: map[block.Kind][][]byte{}}
	for _, kind := range []block.Kind{block.KindHeader, block.KindData} {
		sub, err := wire.Subscribe(wireKind(kind))
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("hostile subscription: %w", err)
		}
		p.Serve(kind, func(uint64, uint64) [][]byte { return nil })
		p.done.Go(func() { p.listen(kind, sub) })
	}
	return p, nil
}

func (p *Peer) listen(kind block.Kind, sub *pubsub.Subscription) {
	defer sub.Cancel()
	for {
		m, err := sub.Next(p.ctx)
		if err != nil {
			return
		}
		if m.ReceivedFrom == p.ID() {
			continue
		}
		p.mu.Lock()
		all := append(p.heard[kind], m.Data)
		p.heard[kind] = all[max(0, len(all)-heardMost):]
		p.mu.Unlock()
	}
}

// Close stops the peer.
func (p *Peer) Close() {
	p.stop()
	p.wire.Close()
	p.done.Wait()
}

// ID returns the peer id.
func (p *Peer) ID() peer.ID { return p.wire.ID() }

// Connect dials a node.
func (p *Peer) Connect(ctx context.Context, address string) error {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return fmt.Errorf("hostile peer: %w", err)
	}
	if err := p.wire.Host.Connect(ctx, *info); err != nil {
		return fmt.Errorf("hostile peer: %w", err)
	}
	return nil
}

// Connected reports whether any node has not thrown the peer out.
func (p *Peer) Connected() bool { return len(p.wire.Host.Network().Peers()) > 0 }

// Publish gossips bytes as they are.
func (p *Peer) Publish(ctx context.Context, f Forgery) error {
	if err := p.wire.Gossip(ctx, wireKind(f.Kind), f.Bytes); err != nil {
		return fmt.Errorf("hostile gossip: %w", err)
	}
	return nil
}

// Heard returns the newest honest items, the oldest first.
func (p *Peer) Heard(kind block.Kind) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.heard[kind]...)
}

// Header returns the newest honest header that was heard; nil before the first.
func (p *Peer) Header() *block.SignedHeader {
	for _, b := range slices.Backward(p.Heard(block.KindHeader)) {
		if h, err := block.DecodeSignedHeader(b); err == nil && len(h.Signature) > 0 {
			return h
		}
	}
	return nil
}

// stallTime is how long a request without an answer is held open.
const stallTime = time.Minute

// Serve sets how range requests for a kind are answered.
func (p *Peer) Serve(kind block.Kind, answer Answer) {
	p.wire.Serve(wireKind(kind), func(r stream.Request, s network.Stream) {
		defer func() { _ = s.Reset() }()
		bodies := answer(r.Origin, r.Amount)
		if bodies == nil {
			select {
			case <-p.ctx.Done():
			case <-time.After(stallTime):
			}
			return
		}
		for _, body := range bodies {
			if _, err := s.Write(stream.Frame(body)); err != nil {
				return
			}
		}
		_ = s.Close()
	})
}
