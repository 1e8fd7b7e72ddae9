package stream

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Kind is headers or data.
type Kind string

// The kinds, as they appear in topics and protocols (evolve-wire §5.3).
const (
	Headers Kind = "headerSync"
	Data    Kind = "dataSync"
)

// maxMessage lets a peer send more than nodes take.
const maxMessage = 16 << 20

// Config of a Peer.
type Config struct {
	ChainID string
	// Mesh speaks GossipSub and sends to everybody; otherwise FloodSub, as ev-node does.
	Mesh bool
	// Bare leaves pubsub out: the peer gossips what is written to Frames, and hears
	// nothing. Only Host is there, and what is done with streams.
	Bare bool
	// Options are those of its host; without any it listens on loopback.
	Options []libp2p.Option
}

// Peer is a libp2p host that says what it is told to say.
type Peer struct {
	Host   host.Host
	PubSub *pubsub.PubSub

	chain  string
	cancel context.CancelFunc
	topics map[Kind]*pubsub.Topic
	relays []func()
}

// NewPeer listens and subscribes to both topics of the chain, taking every message
// for valid.
func NewPeer(ctx context.Context, c Config) (*Peer, error) {
	opts := []libp2p.Option{libp2p.DisableMetrics(), libp2p.DisableRelay()}
	if len(c.Options) == 0 {
		opts = append(opts, libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	}
	h, err := libp2p.New(append(opts, c.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("hostile host: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Peer{Host: h, chain: c.ChainID, cancel: cancel, topics: map[Kind]*pubsub.Topic{}}
	if c.Bare {
		return p, nil
	}
	if err := p.join(ctx, c.Mesh); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Peer) join(ctx context.Context, mesh bool) (err error) {
	opts := []pubsub.Option{pubsub.WithMaxMessageSize(maxMessage), pubsub.WithPeerOutboundQueueSize(1024)}
	if mesh {
		p.PubSub, err = pubsub.NewGossipSub(ctx, p.Host, append(opts, pubsub.WithFloodPublish(true))...)
	} else {
		p.PubSub, err = pubsub.NewFloodSub(ctx, p.Host, opts...)
	}
	if err != nil {
		return fmt.Errorf("pubsub: %w", err)
	}
	for _, k := range []Kind{Headers, Data} {
		t, err := p.PubSub.Join(p.Topic(k))
		if err != nil {
			return fmt.Errorf("join %s: %w", p.Topic(k), err)
		}
		stop, err := t.Relay()
		if err != nil {
			return fmt.Errorf("relay %s: %w", p.Topic(k), err)
		}
		p.topics[k], p.relays = t, append(p.relays, stop)
	}
	return nil
}

// Close disconnects and stops.
func (p *Peer) Close() {
	p.cancel()
	_ = p.Host.Close()
}

// Topic returns the gossip topic of a kind.
func (p *Peer) Topic(k Kind) string { return "/" + p.chain + "-" + string(k) + "/header-sub/v0.0.1" }

// Protocol returns the range protocol of a kind.
func (p *Peer) Protocol(k Kind) protocol.ID {
	return protocol.ID("/" + p.chain + "-" + string(k) + "/header-ex/v0.0.3")
}

// Key returns the key of the peer itself.
func (p *Peer) Key() ed25519.PrivateKey {
	raw, err := p.Host.Peerstore().PrivKey(p.Host.ID()).Raw()
	if err != nil {
		panic(err) // never
	}
	return raw
}

// ID returns the peer id.
func (p *Peer) ID() peer.ID { return p.Host.ID() }

// Info returns what others need to dial it.
func (p *Peer) Info() peer.AddrInfo { return *host.InfoFromHost(p.Host) }

// Connect dials a node and waits until it takes gossip of both kinds, or ctx ends.
func (p *Peer) Connect(ctx context.Context, to peer.AddrInfo) error {
	if err := p.Host.Connect(ctx, to); err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !p.heard(Headers, to.ID) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not subscribe: %w", to.ID, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

func (p *Peer) heard(k Kind, id peer.ID) bool {
	return slices.Contains(p.topics[k].ListPeers(), id)
}

// Connected reports whether a node still puts up with it.
func (p *Peer) Connected(id peer.ID) bool {
	return p.Host.Network().Connectedness(id) == network.Connected
}

// Subscribe returns what is gossiped of a kind from now on.
func (p *Peer) Subscribe(k Kind) (*pubsub.Subscription, error) {
	return p.topics[k].Subscribe() //nolint:wrapcheck // test code
}

// Gossip publishes bytes as the peer's own message.
func (p *Peer) Gossip(ctx context.Context, k Kind, body []byte) error {
	return p.topics[k].Publish(ctx, body) //nolint:wrapcheck // test code
}

// GossipAs publishes bytes under another key, as if they were relayed.
func (p *Peer) GossipAs(ctx context.Context, k Kind, key ed25519.PrivateKey, body []byte) error {
	id, err := identity(key)
	if err != nil {
		return err
	}
	private, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	return p.topics[k].Publish(ctx, body, pubsub.WithSecretKeyAndPeerId(private, id)) //nolint:wrapcheck // test code
}

func identity(key ed25519.PrivateKey) (peer.ID, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("no ed25519 key")
	}
	wrapped, err := crypto.UnmarshalEd25519PublicKey(public)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	return peer.IDFromPublicKey(wrapped) //nolint:wrapcheck // test code
}

// Ask sends one range request and returns the bytes of the answer.
func (p *Peer) Ask(ctx context.Context, to peer.ID, k Kind, origin, amount uint64) ([]byte, error) {
	s, err := p.open(ctx, to, k, origin, amount)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Reset() }()
	b, err := io.ReadAll(io.LimitReader(s, 1<<30))
	if err != nil {
		return b, fmt.Errorf("answer: %w", err)
	}
	return b, nil
}

func (p *Peer) open(ctx context.Context, to peer.ID, k Kind, origin, amount uint64) (network.Stream, error) {
	s, err := p.Host.NewStream(ctx, to, p.Protocol(k))
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(deadline)
	}
	if _, err := s.Write(requestFrame(origin, amount)); err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("request: %w", err)
	}
	_ = s.CloseWrite()
	return s, nil
}

// Slow opens requests for whole ranges and reads none of the answers. It returns
// how many were opened; the node or Close ends them.
func (p *Peer) Slow(ctx context.Context, to peer.ID, k Kind, n int) int {
	opened := 0
	for range n {
		if _, err := p.open(ctx, to, k, 1, maxItems); err != nil {
			break
		}
		opened++
	}
	return opened
}
