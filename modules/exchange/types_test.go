package exchange

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

type (
	ctxT       = context.Context
	protocolID = protocol.ID
	edPublic   = ed25519.PublicKey
)

func contextWithTimeout(tb testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeout(tb.Context(), d)
}

func testPeer(i int) peer.ID { return peer.ID(fmt.Sprint("peer ", i)) }

// fly makes a chunk the first one and says that a peer is asked for it.
func (s *puller[H]) fly(height uint64, p peer.ID) *chunk[H] {
	c := &chunk[H]{span: span{from: height, to: height + 1}, peer: p, flying: true, begun: time.Now(), got: new(atomic.Int64)}
	c.cancel = func() {}
	s.chunks = []*chunk[H]{c}
	return c
}
