package hostile

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"sync/atomic"
	"time"

	libp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil/hostile/stream"
)

// Flood sends a node as much as it takes, of everything at once.
type Flood struct {
	Genesis block.Genesis
	Target  peer.AddrInfo
	Listen  string // multiaddr
	// Like returns the newest honest header, nil before the first.
	Like func() *block.SignedHeader
	// Size of the transactions in data that has no header, in bytes.
	Size int

	sent  atomic.Int64
	turns atomic.Uint64
}

// Sent returns the bytes that were sent so far.
func (f *Flood) Sent() int64 { return f.sent.Load() }

// largest is a gossip message nodes just take.
const largest = 5 << 20

// Gossip floods the topics until ctx ends, under a new identity whenever the node
// has had enough of the last: data of blocks to come, junk as large as may be, forged
// heads. All of it is relayed, as far as the node can tell. Beside that the peer
// asks for wide ranges and reads no answer, and answers nobody.
func (f *Flood) Gossip(ctx context.Context) {
	f.again(ctx, func(ctx context.Context, p *stream.Peer) error {
		s, err := p.Frames(ctx, f.Target.ID)
		if err != nil {
			return err //nolint:wrapcheck // test code
		}
		author, forger := f.author(), NewForger(f.Genesis, f.turns.Add(1))
		for _, k := range []stream.Kind{stream.Headers, stream.Data} {
			p.Serve(k, stream.Stall(largest, largest/2, time.Minute))
			p.Slow(ctx, f.Target.ID, k, 24)
		}
		for i := 0; ctx.Err() == nil; i++ {
			for _, x := range f.items(forger, i) {
				frame, err := p.Message(wireKind(x.Kind), author, x.Bytes)
				if err != nil {
					return err //nolint:wrapcheck // test code
				}
				n, err := s.Write(frame)
				f.sent.Add(int64(n))
				if err != nil {
					return err //nolint:wrapcheck // test code
				}
			}
		}
		return nil
	})
}

// items is what is gossiped in one turn.
func (f *Flood) items(forger *Forger, turn int) []Forgery {
	like := f.Like()
	if like == nil {
		return nil
	}
	now := time.Now()
	switch turn % 16 {
	case 0:
		return []Forgery{{"junk for a header", block.KindHeader, noise(largest)}}
	case 1:
		return []Forgery{{"junk for data", block.KindData, noise(largest)}}
	case 2:
		return forger.Heads(like, FarHeight, now)
	}
	// Far enough for its header not to come, near enough to be worth a wait.
	m := block.Metadata{ChainID: f.Genesis.ChainID, Height: like.Height() + 200 + f.turns.Add(1)%256, Time: uint64(now.UnixNano())}
	return []Forgery{{"data without a header", block.KindData, block.NewData(&m, [][]byte{noise(f.Size)}).EncodeP2P()}}
}

// Halves holds a gossip message of which all but the end was sent, and as many
// requests that end after a byte as the node lets it, until ctx ends.
func (f *Flood) Halves(ctx context.Context) {
	f.again(ctx, func(ctx context.Context, p *stream.Peer) error {
		s, err := p.Frames(ctx, f.Target.ID)
		if err != nil {
			return err //nolint:wrapcheck // test code
		}
		frame, err := p.Message(stream.Data, f.author(), noise(largest))
		if err != nil {
			return err //nolint:wrapcheck // test code
		}
		n, err := s.Write(frame[:len(frame)-1])
		f.sent.Add(int64(n))
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for err == nil && p.Connected(f.Target.ID) {
			p.Half(ctx, f.Target.ID, stream.Headers, 16)
			p.Half(ctx, f.Target.ID, stream.Data, 16)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
		return err //nolint:wrapcheck // test code
	})
}

// again attacks with one new peer after the other.
func (f *Flood) again(ctx context.Context, attack func(context.Context, *stream.Peer) error) {
	const breath = 100 * time.Millisecond
	for ctx.Err() == nil {
		f.once(ctx, attack)
		select {
		case <-time.After(breath):
		case <-ctx.Done():
		}
	}
}

func (f *Flood) once(ctx context.Context, attack func(context.Context, *stream.Peer) error) {
	p, err := stream.NewPeer(ctx, stream.Config{ChainID: f.Genesis.ChainID, Bare: true, Options: []libp2p.Option{libp2p.ListenAddrStrings(f.Listen)}})
	if err != nil {
		return
	}
	defer p.Close()
	if err := p.Host.Connect(ctx, f.Target); err != nil {
		return // it may have enough peers for now
	}
	_ = attack(ctx, p) // the node ends it as soon as it may
}

// author is a new identity: what it makes is only relayed by the peer that sends it.
func (f *Flood) author() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // never
	}
	return key
}

// noise is junk without a seed, which is faster.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// Bulk returns large blobs of a stranger: data for a height signed by the forger,
// which may yet turn out to be needed, and junk among the headers.
func (f *Forger) Bulk(height uint64, now time.Time, size int) []Forgery {
	out := []Forgery{{"junk for headers", block.KindHeader, noise(size)}, {"junk for data", block.KindData, noise(size)}}
	for i := range uint64(3) {
		m := block.Metadata{ChainID: f.genesis.ChainID, Height: height + i, Time: uint64(now.UnixNano())}
		out = append(out, Forgery{"data of a stranger", block.KindData, f.sealed(&m, [][]byte{noise(size)})})
	}
	return out
}
