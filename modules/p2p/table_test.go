package p2p_test

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Spam: anybody may leave records in the DHT, which keeps them for two days. They are
// bounded, and those who look for the chain are found beside them.
func TestSpam_RecordsInTheDHTAreBounded(t *testing.T) {
	withDHT := config()
	withDHT.DHT = true
	hub, _ := start(t, "hub", withDHT)
	h := stranger(t)
	require.NoError(t, h.Connect(t.Context(), *hostInfo(hub)))
	s, err := h.NewStream(t.Context(), hub.ID(), "/ipfs/kad/1.0.0")
	require.NoError(t, err)
	addrs := pb.RawPeerInfosToPBPeers([]peer.AddrInfo{{ID: h.ID(), Addrs: h.Addrs()}})
	before := heap()
	const records = 100_000
	for i := range uint64(records) {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		key, err := multihash.Encode(sum[:], multihash.SHA2_256)
		require.NoError(t, err)
		b, err := proto.Marshal(&pb.Message{Type: pb.Message_ADD_PROVIDER, Key: key, ProviderPeers: addrs})
		require.NoError(t, err)
		_, err = s.Write(protowire.AppendBytes(nil, b))
		require.NoError(t, err)
	}
	grown := heap() - before
	t.Logf("%d records: heap +%d KiB", records, grown>>10)
	require.Less(t, grown, int64(16<<20))

	known := config(address(hub))
	known.DHT = true
	a, _ := start(t, "a", known)
	b, _ := start(t, "b", known)
	require.Eventually(t, connected(a, b), soon, tick)
}
