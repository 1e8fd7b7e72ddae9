package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// Reached is what came of dialling a static peer.
type Reached struct {
	ID    peer.ID
	Agent string // the program the peer says it runs
	Err   error
}

// askTimeout bounds one dial of AskStatic.
const askTimeout = 5 * time.Second

// AskStatic dials every static peer once, as a stranger with a new key, so that it can
// run beside the node.
func (c Config) AskStatic(ctx context.Context) ([]Reached, error) {
	static, err := c.staticPeers()
	if err != nil || len(static) == 0 {
		return nil, err
	}
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(libp2pquic.NewTransport))
	if err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	defer func() { _ = h.Close() }()
	out := make([]Reached, len(static))
	var wg sync.WaitGroup
	for i, info := range static {
		wg.Go(func() {
			dial, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			out[i] = Reached{ID: info.ID, Err: otherKey(info, h.Connect(dial, info))}
			agent, _ := h.Peerstore().Get(info.ID, "AgentVersion")
			out[i].Agent, _ = agent.(string)
		})
	}
	wg.Wait()
	return out, nil
}

// otherKey names the key that a static peer has instead of the expected one. Other
// errors stay what they are.
func otherKey(info peer.AddrInfo, err error) error {
	var other sec.ErrPeerIDMismatch
	if !errors.As(err, &other) {
		return err
	}
	return fmt.Errorf("p2p.peers: the node at %s has the key of %s, and not of %s: correct the peer id if its key was changed",
		texts(info.Addrs), other.Actual, info.ID)
}
