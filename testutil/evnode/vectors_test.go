package evnode

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/signer"
)

// The tests here are of what modules/block cannot check of the captured values:
// what DA and gossip made of them, and that no value is there that nobody reads.

type capturedBlob struct {
	Blob       hexBytes `json:"blob"`
	BlobID     hexBytes `json:"blob_id"`
	Commitment hexBytes `json:"commitment"`
	DAHeight   uint64   `json:"da_height"`
}

type capturedGossip struct {
	Data    hexBytes `json:"data"`
	Message hexBytes `json:"pubsub_message"`
}

type capturedNet struct {
	Height       uint64          `json:"height"`
	DAHeader     *capturedBlob   `json:"da_header"`
	DAData       *capturedBlob   `json:"da_data"`
	HeaderAt     uint64          `json:"da_height_header"`
	DataAt       uint64          `json:"da_height_data"`
	GossipHeader *capturedGossip `json:"gossip_header"`
	GossipData   *capturedGossip `json:"gossip_data"`
}

type capturedFile struct {
	ChainID    string        `json:"chain_id"`
	DataNS     string        `json:"data_namespace"`
	DataName   string        `json:"data_namespace_string"`
	HeaderNS   string        `json:"header_namespace"`
	HeaderName string        `json:"header_namespace_string"`
	Genesis    string        `json:"genesis_json_file"`
	Blocks     []capturedNet `json:"blocks"`
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("../../modules/block/testdata/" + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, into))
}

func TestCapturedDA(t *testing.T) {
	var file capturedFile
	readVectors(t, "blocks.json", &file)
	header, data := da.NamespaceOf(file.HeaderName), da.NamespaceOf(file.DataName)
	require.Equal(t, "0x"+file.HeaderNS, header.String())
	require.Equal(t, "0x"+file.DataNS, data.String())
	g, err := block.LoadGenesis("../../modules/block/testdata/" + file.Genesis)
	require.NoError(t, err)
	require.Equal(t, file.ChainID, g.ChainID)
	var headers, datas int
	for _, b := range file.Blocks {
		for _, side := range []struct {
			ns   da.Namespace
			blob *capturedBlob
			at   uint64
			n    *int
		}{{header, b.DAHeader, b.HeaderAt, &headers}, {data, b.DAData, b.DataAt, &datas}} {
			if side.blob == nil {
				require.Equal(t, b.HeaderAt, side.at, "the hint of empty data is the header's")
				continue
			}
			*side.n++
			commitment, err := da.Commit(side.ns, side.blob.Blob)
			require.NoError(t, err)
			require.Equal(t, []byte(side.blob.Commitment), commitment[:], "block %d", b.Height)
			id := append(binary.LittleEndian.AppendUint64(nil, side.blob.DAHeight), commitment[:]...)
			require.Equal(t, []byte(side.blob.BlobID), id, "block %d", b.Height)
			require.Equal(t, side.at, side.blob.DAHeight, "block %d", b.Height)
		}
	}
	require.Equal(t, []int{26, 9}, []int{headers, datas})
}

// Every captured gossip message is whole: topic, author, sequence number and
// signature are those of the sequencer's node key.
func TestCapturedGossip(t *testing.T) {
	var file capturedFile
	readVectors(t, "blocks.json", &file)
	key, err := signer.LoadNodeKey("../../modules/signer/testdata/node_key.json")
	require.NoError(t, err)
	pub, err := crypto.UnmarshalEd25519PublicKey(key.Public().(ed25519.PublicKey))
	require.NoError(t, err)
	id, err := peer.IDFromPublicKey(pub)
	require.NoError(t, err)
	seen := 0
	for _, b := range file.Blocks {
		for kind, g := range map[string]*capturedGossip{"header": b.GossipHeader, "data": b.GossipData} {
			if g == nil {
				require.Equal(t, uint64(1), b.Height)
				continue
			}
			seen++
			var m pubsubpb.Message
			require.NoError(t, proto.Unmarshal(g.Message, &m))
			require.Equal(t, fmt.Sprintf("/%s-%sSync/header-sub/v0.0.1", file.ChainID, kind), m.GetTopic())
			require.Equal(t, []byte(id), m.GetFrom())
			require.Equal(t, []byte(g.Data), m.GetData())
			require.Len(t, m.GetSeqno(), 8)
			require.Empty(t, m.GetKey())
			back, err := proto.MarshalOptions{Deterministic: true}.Marshal(&m)
			require.NoError(t, err)
			require.Equal(t, []byte(g.Message), back)

			signature := m.Signature
			m.Signature, m.Key = nil, nil
			payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(&m)
			require.NoError(t, err)
			ok, err := pub.Verify(append([]byte("libp2p-pubsub:"), payload...), signature)
			require.NoError(t, err)
			require.True(t, ok, "block %d", b.Height)
		}
	}
	require.Equal(t, 50, seen)
}

// The seeds of the hand-made values make every signature in them.
func TestHandmadeSignatures(t *testing.T) {
	var file struct {
		Vectors []struct {
			Name         string   `json:"name"`
			Seed         hexBytes `json:"ed25519_seed"`
			Pub          hexBytes `json:"ed25519_pub"`
			HeaderSlim   hexBytes `json:"header_bytes_slim"`
			HeaderSig    hexBytes `json:"header_signature"`
			SignedHeader hexBytes `json:"signed_header"`
			EnvelopeSig  hexBytes `json:"envelope_signature"`
			Data         hexBytes `json:"data_bytes"`
			DataSig      hexBytes `json:"data_signature"`
		} `json:"vectors"`
	}
	readVectors(t, "handmade.json", &file)
	require.Len(t, file.Vectors, 4)
	for _, v := range file.Vectors {
		key := ed25519.NewKeyFromSeed(v.Seed)
		require.Equal(t, ed25519.PublicKey(v.Pub), key.Public(), v.Name)
		require.Equal(t, []byte(v.HeaderSig), ed25519.Sign(key, v.HeaderSlim), v.Name)
		require.Equal(t, []byte(v.EnvelopeSig), ed25519.Sign(key, v.SignedHeader), v.Name)
		require.Equal(t, []byte(v.DataSig), ed25519.Sign(key, v.Data), v.Name)
	}
}

// What modules/da keeps of the hand-made values are the hand-made values.
func TestHandmadeDA(t *testing.T) {
	var all, kept map[string]json.RawMessage
	readVectors(t, "handmade.json", &all)
	raw, err := os.ReadFile("../../modules/da/testdata/vectors.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &kept))
	require.Len(t, kept, 2)
	for key, value := range kept {
		require.JSONEq(t, string(all[key]), string(value), key)
	}
}

// Every key of the vector files is one that a test reads.
func TestNoVectorIsLeftOut(t *testing.T) {
	var tests strings.Builder
	for _, path := range []string{"../../modules/block/vectors_test.go", "../../modules/da/commitment_test.go", "vectors_test.go"} {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		tests.Write(raw)
	}
	// note is for people; data_rule is what the test's pattern does.
	told := []string{"note", "data_rule"}
	for _, name := range []string{"blocks.json", "handmade.json"} {
		var file any
		readVectors(t, name, &file)
		for key := range keysOf(file) {
			if slices.Contains(told, key) || key == "txs" { // by the field's name
				continue
			}
			require.True(t, strings.Contains(tests.String(), `json:"`+key+`"`) || strings.Contains(tests.String(), `"`+key+`"`),
				"%s: no test reads %q", name, key)
		}
	}
}

func keysOf(v any) map[string]bool {
	out := map[string]bool{}
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			out[k] = true
			for key := range keysOf(inner) {
				out[key] = true
			}
		}
	case []any:
		for _, inner := range v {
			for key := range keysOf(inner) {
				out[key] = true
			}
		}
	}
	return out
}
