package hostile

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
)

// heardMost is how many honest items of a kind a peer remembers, to replay them.
const heardMost = 32

// Answer is what a peer says to a range request for amount items from origin on;
// origin 0 asks for the head. Each element is the body of one frame. A nil answer
// leaves the request without one until the asker gives up.
type Answer func(origin, amount uint64) [][]byte

// Peer is a libp2p host in the topics of a chain that checks nothing.
type Peer struct {
	host   host.Host
	stop   context.CancelFunc
	done   sync.WaitGroup
	topics map[block.Kind]*pubsub.Topic

	mu      sync.Mutex
	heard   map[block.Kind][][]byte
	answers map[block.Kind]Answer
}

// NewPeer starts a peer of the chain called chain. Options say where it listens.
func NewPeer(ctx context.Context, chain string, opts ...libp2p.Option) (*Peer, error) {
	h, err := libp2p.New(append([]libp2p.Option{libp2p.DisableRelay(), libp2p.DisableMetrics()}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("hostile host: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	p := &Peer{
		host: h, stop: stop, topics: map[block.Kind]*pubsub.Topic{},
		heard: map[block.Kind][][]byte{}, answers: map[block.Kind]Answer{},
	}
	if err := p.join(ctx, chain); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Peer) join(ctx context.Context, chain string) error {
	ps, err := pubsub.NewGossipSub(ctx, p.host, pubsub.WithMaxMessageSize(8<<20), pubsub.WithFloodPublish(true))
	if err != nil {
		return fmt.Errorf("hostile pubsub: %w", err)
	}
	for kind, name := range map[block.Kind]string{block.KindHeader: chain + "-headerSync", block.KindData: chain + "-dataSync"} {
		topic, err := ps.Join("/" + name + "/header-sub/v0.0.1")
		if err != nil {
			return fmt.Errorf("hostile topic: %w", err)
		}
		sub, err := topic.Subscribe()
		if err != nil {
			return fmt.Errorf("hostile subscription: %w", err)
		}
		p.topics[kind] = topic
		p.done.Go(func() { p.listen(ctx, kind, sub) })
		p.host.SetStreamHandler(protocol.ID("/"+name+"/header-ex/v0.0.3"), func(s network.Stream) { p.serve(ctx, kind, s) })
	}
	return nil
}

func (p *Peer) listen(ctx context.Context, kind block.Kind, sub *pubsub.Subscription) {
	defer sub.Cancel()
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if m.ReceivedFrom == p.host.ID() {
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
	_ = p.host.Close() // nothing is left to be lost
	p.done.Wait()
}

// ID returns the peer id.
func (p *Peer) ID() peer.ID { return p.host.ID() }

// Connect dials a node.
func (p *Peer) Connect(ctx context.Context, address string) error {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return fmt.Errorf("hostile peer: %w", err)
	}
	if err := p.host.Connect(ctx, *info); err != nil {
		return fmt.Errorf("hostile peer: %w", err)
	}
	return nil
}

// Connected reports whether any node has not thrown the peer out.
func (p *Peer) Connected() bool { return len(p.host.Network().Peers()) > 0 }

// Publish gossips bytes as they are.
func (p *Peer) Publish(ctx context.Context, f Forgery) error {
	if err := p.topics[f.Kind].Publish(ctx, f.Bytes); err != nil {
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

// Serve sets how range requests for a kind are answered.
func (p *Peer) Serve(kind block.Kind, a Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[kind] = a
}

// stallTime is how long a request without an answer is held open.
const stallTime = time.Minute

func (p *Peer) serve(ctx context.Context, kind block.Kind, s network.Stream) {
	defer func() { _ = s.Reset() }()
	r := bufio.NewReader(s)
	size, err := binary.ReadUvarint(r)
	if err != nil || size > 1024 {
		return
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return
	}
	origin, amount := request(raw)
	p.mu.Lock()
	answer := p.answers[kind]
	p.mu.Unlock()
	var bodies [][]byte
	if answer != nil {
		bodies = answer(origin, amount)
	}
	if bodies == nil {
		select {
		case <-ctx.Done():
		case <-time.After(stallTime):
		}
		return
	}
	for _, body := range bodies {
		if _, err := s.Write(frame(body)); err != nil {
			return
		}
	}
	_ = s.Close()
}

// frame is one p2p.pb.HeaderResponse with its length in front.
func frame(body []byte) []byte {
	m := protowire.AppendTag(nil, 1, protowire.BytesType)
	m = protowire.AppendBytes(m, body)
	m = protowire.AppendTag(m, 2, protowire.VarintType)
	m = protowire.AppendVarint(m, 1)
	return protowire.AppendBytes(nil, m)
}

// request reads p2p.pb.HeaderRequest as far as it matters.
func request(b []byte) (origin, amount uint64) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return origin, amount
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return origin, amount
		}
		if typ == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b[n:])
			if num == 1 {
				origin = v
			} else {
				amount = v
			}
		}
		b = b[n+m:]
	}
	return origin, amount
}
