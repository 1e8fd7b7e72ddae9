package stream

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Frames opens a stream of gossip that a bare peer fills itself, with whole
// messages or parts of them. Writes wait for as long as the node does not read.
func (p *Peer) Frames(ctx context.Context, to peer.ID) (network.Stream, error) {
	return p.Host.NewStream(ctx, to, pubsub.FloodSubID) //nolint:wrapcheck // test code
}

// Message returns the frame of one message, made and signed by the holder of key.
func (p *Peer) Message(k Kind, key ed25519.PrivateKey, body []byte) ([]byte, error) {
	from, err := identity(key)
	if err != nil {
		return nil, err
	}
	topic := p.Topic(k)
	m := &pb.Message{
		From: []byte(from), Topic: &topic, Data: body,
		Seqno: binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano())),
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	m.Signature = ed25519.Sign(key, append([]byte(pubsub.SignPrefix), b...))
	rpc, err := proto.Marshal(&pb.RPC{Publish: []*pb.Message{m}})
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return protowire.AppendBytes(nil, rpc), nil
}

// Half opens requests and sends the first byte of each. It returns how many were
// opened; the node or Close ends them.
func (p *Peer) Half(ctx context.Context, to peer.ID, k Kind, n int) int {
	opened := 0
	for range n {
		s, err := p.Host.NewStream(ctx, to, p.Protocol(k))
		if err != nil {
			break
		}
		if _, err := s.Write([]byte{maxItems}); err != nil {
			break
		}
		opened++
	}
	return opened
}
