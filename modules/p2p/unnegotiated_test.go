package p2p_test

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
)

// Streams that never say what they are for do not keep anybody else's out, and
// those of one peer are few. What a peer gave up, it may open again.
func TestSpam_StreamsWithoutAProtocol(t *testing.T) {
	n, _ := start(t, "n", config())
	const perPeer = 16
	n.Host().SetStreamHandler("/serve", func(s network.Stream) {
		_, _ = s.Write([]byte{1})
		_ = s.Close()
	})
	serve := func() error {
		h := stranger(t)
		if err := h.Connect(t.Context(), *hostInfo(n)); err != nil {
			return err
		}
		s, err := h.NewStream(t.Context(), n.ID(), "/serve")
		if err != nil {
			return err
		}
		_, err = s.Read(make([]byte, 1))
		return err
	}
	silent := func() int { // inbound streams without a protocol
		k := 0
		for _, conn := range n.Host().Network().Conns() {
			for _, s := range conn.GetStreams() {
				if s.Protocol() == "" && s.Stat().Direction == network.DirInbound {
					k++
				}
			}
		}
		return k
	}
	var all []network.Stream
	const attackers = 6
	for range attackers {
		h := stranger(t)
		require.NoError(t, h.Connect(t.Context(), *hostInfo(n)))
		conn := h.Network().ConnsToPeer(n.ID())[0]
		for range 10 * perPeer {
			s, err := conn.NewStream(t.Context())
			if err != nil {
				continue
			}
			_, _ = s.Write([]byte{0x13}) // the beginning of a negotiation
			all = append(all, s)
		}
	}
	require.Eventually(t, func() bool { return silent() >= attackers*perPeer/2 }, soon, tick)
	require.LessOrEqual(t, silent(), attackers*perPeer)
	require.NoError(t, serve(), "an honest peer is served meanwhile")
	for _, s := range all {
		_ = s.Reset()
	}
	require.Eventually(t, func() bool { return silent() == 0 }, soon, tick)
	require.NoError(t, serve())
}
