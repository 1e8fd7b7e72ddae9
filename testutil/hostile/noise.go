package hostile

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"sync"
	"sync/atomic"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// Noise sends nodes gossip that brings nothing, at a steady rate: heads of unknown
// proposers, forged headers, honest items again, padded, and with forged hints.
type Noise struct {
	Genesis block.Genesis
	Targets []peer.AddrInfo
	Listen  string // multiaddr
	// Heard returns the newest honest items of a kind, the oldest first.
	Heard func(block.Kind) [][]byte
	Rate  int // items per second of each peer

	sent    atomic.Int64
	bans    atomic.Int64
	mu      sync.Mutex
	relayed map[[32]byte]int
}

// Sent returns how many items were sent so far, to all nodes, and how often a node
// has thrown a peer out.
func (n *Noise) Sent() (items, bans int64) { return n.sent.Load(), n.bans.Load() }

// Relayed returns how many items of strangers were heard at the ear, and how often
// the one that was heard most.
func (n *Noise) Relayed() (items, most int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, times := range n.relayed {
		most = max(most, times)
	}
	return len(n.relayed), most
}

// Ear counts what a node passes on that the chain's own node did not make, until
// ctx ends.
func (n *Noise) Ear(ctx context.Context, at, honest peer.AddrInfo) error {
	p, err := stream.NewPeer(ctx, stream.Config{ChainID: n.Genesis.ChainID, Options: []libp2p.Option{libp2p.ListenAddrStrings(n.Listen)}})
	if err != nil {
		return err //nolint:wrapcheck // test code
	}
	defer p.Close()
	if err := p.Connect(ctx, at); err != nil {
		return err //nolint:wrapcheck // test code
	}
	n.relayed = map[[32]byte]int{}
	var all sync.WaitGroup
	defer all.Wait()
	for _, k := range []stream.Kind{stream.Headers, stream.Data} {
		sub, err := p.Subscribe(k)
		if err != nil {
			return err //nolint:wrapcheck // test code
		}
		all.Go(func() {
			for {
				m, err := sub.Next(ctx)
				if err != nil {
					return
				}
				if m.GetFrom() != honest.ID {
					n.mu.Lock()
					n.relayed[sha256.Sum256(m.Data)]++
					n.mu.Unlock()
				}
			}
		})
	}
	<-ctx.Done()
	return nil
}

// Send makes noise at one node until ctx ends, as a new peer whenever it was thrown
// out. own says whether the peers made the messages themselves or relay them.
func (n *Noise) Send(ctx context.Context, target peer.AddrInfo, own bool) {
	f := Flood{Genesis: n.Genesis, Target: target, Listen: n.Listen}
	f.again(ctx, func(ctx context.Context, p *stream.Peer) error {
		defer n.bans.Add(1)
		s, err := p.Frames(ctx, target.ID)
		if err != nil {
			return err //nolint:wrapcheck // test code
		}
		const ticks = 100
		tick := time.NewTicker(time.Second / ticks)
		defer tick.Stop()
		for turn := 0; ; turn++ {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			for i := range n.Rate / ticks {
				author := p.Key()
				if !own {
					author = f.author()
				}
				if err := n.one(p, s, author, turn*n.Rate+i); err != nil {
					return err
				}
			}
		}
	})
}

// one sends one item, if there is any yet.
func (n *Noise) one(p *stream.Peer, s io.Writer, author ed25519.PrivateKey, i int) error {
	x, ok := n.item(i)
	if !ok {
		return nil
	}
	frame, err := p.Message(wireKind(x.Kind), author, x.Bytes)
	if err != nil {
		return err //nolint:wrapcheck // test code
	}
	if _, err := s.Write(frame); err != nil {
		return err //nolint:wrapcheck // test code
	}
	n.sent.Add(1)
	return nil
}

// item is one item of noise.
func (n *Noise) item(i int) (Forgery, bool) {
	kind := block.KindHeader
	if i%3 == 0 {
		kind = block.KindData
	}
	heard := n.Heard(kind)
	if len(heard) == 0 {
		return Forgery{}, false
	}
	honest := heard[i%len(heard)]
	unknown := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), noise(64))
	switch i % 5 {
	case 0:
		return Forgery{"replayed", kind, honest}, true
	case 1:
		return Forgery{"padded", kind, append(append([]byte(nil), honest...), unknown...)}, true
	case 2:
		return Forgery{"with a hint", kind, protowire.AppendVarint(honest[:len(honest)-1:len(honest)-1], uint64(1+i%100))}, true //nolint:gosec // not negative
	}
	like, err := block.DecodeSignedHeader(honest)
	if kind != block.KindHeader || err != nil {
		return Forgery{"replayed", kind, honest}, true
	}
	if i%5 == 3 {
		return Forgery{"unproven", kind, stream.SelfSigned(like, 1<<60+uint64(i), "stranger").EncodeP2P()}, true //nolint:gosec // not negative
	}
	return Forgery{"forged", kind, stream.Forged(like, like.Height()+1).EncodeP2P()}, true
}
