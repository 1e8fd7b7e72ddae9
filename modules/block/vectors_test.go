package block_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
)

// hexBytes is a byte string that is hex in the vectors.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	var err error
	*h, err = hex.DecodeString(s)
	return err
}

type blob struct {
	Blob hexBytes `json:"blob"`
}

type gossip struct {
	Data          hexBytes `json:"data"`
	PubsubMessage hexBytes `json:"pubsub_message"`
}

// captured is one block of a real chain, as blocks.json has it. The DA parts are
// checked where namespaces and commitments live, in modules/da.
type captured struct {
	Height          uint64     `json:"height"`
	AppHash         hexBytes   `json:"app_hash_in_header"`
	SignedHeader    hexBytes   `json:"signed_header"`
	Data            hexBytes   `json:"data"`
	P2PHeader       hexBytes   `json:"p2p_signed_header_hint0"`
	P2PData         hexBytes   `json:"p2p_data_hint0"`
	GossipHeader    *gossip    `json:"gossip_header"`
	GossipData      *gossip    `json:"gossip_data"`
	HeaderFrame     hexBytes   `json:"headerex_header_frame"`
	DataFrame       hexBytes   `json:"headerex_data_frame"`
	DAHeader        *blob      `json:"da_header"`
	DAData          *blob      `json:"da_data"`
	DAHeightHeader  uint64     `json:"da_height_header"`
	DAHeightData    uint64     `json:"da_height_data"`
	HeaderHash      hexBytes   `json:"header_hash"`
	SignPayload     hexBytes   `json:"header_sign_payload"`
	HeaderSignature hexBytes   `json:"header_signature"`
	Commitment      hexBytes   `json:"data_commitment"`
	DataHash        hexBytes   `json:"data_hash_with_metadata"`
	SignerAddress   hexBytes   `json:"signer_address"`
	SignerPubProto  hexBytes   `json:"signer_pubkey_proto"`
	SignerPubRaw    hexBytes   `json:"signer_pubkey_raw"`
	StateAfter      hexBytes   `json:"state_after"`
	RootAfter       hexBytes   `json:"state_root_after"`
	RootText        string     `json:"state_root_after_text"`
	IndexHash       hexBytes   `json:"store_index_hash"`
	Txs             []hexBytes `json:"txs_hex"`
}

func readVectors(tb testing.TB, path string, into any) {
	tb.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(tb, err)
	require.NoError(tb, json.Unmarshal(raw, into))
}

func capturedBlocks(tb testing.TB) []captured {
	tb.Helper()
	var file struct {
		Blocks []captured `json:"blocks"`
	}
	readVectors(tb, "testdata/blocks.json", &file)
	require.Len(tb, file.Blocks, 26)
	return file.Blocks
}

func raw(txs []hexBytes) [][]byte {
	out := make([][]byte, len(txs))
	for i, tx := range txs {
		out[i] = tx
	}
	return out
}

func TestCapturedHeaders(t *testing.T) {
	for _, c := range capturedBlocks(t) {
		h, err := block.DecodeSignedHeader(c.SignedHeader)
		require.NoError(t, err)
		require.Equal(t, c.Height, h.Height())
		require.Equal(t, "c1", h.ChainID())
		require.Equal(t, []byte(c.SignedHeader), h.Encode())
		require.Equal(t, len(c.SignedHeader), h.Size())
		require.Equal(t, []byte(c.P2PHeader), h.EncodeP2P())
		require.Equal(t, []byte(c.SignPayload), h.Payload())
		require.Equal(t, []byte(c.SignPayload), h.Header.Encode())
		require.Equal(t, []byte(c.HeaderSignature), h.Signature)
		require.Equal(t, []byte(c.HeaderHash), []byte(h.Hash()))
		require.Equal(t, []byte(c.Commitment), h.Header.DataHash)
		require.Equal(t, []byte(c.AppHash), append([]byte{}, h.Header.AppHash...))
		require.Equal(t, []byte(c.SignerAddress), h.Signer.Address)
		require.Equal(t, []byte(c.SignerPubProto), h.Signer.PubKey)
		require.Equal(t, []byte(c.SignerPubRaw), h.Signer.RawPubKey())
		require.Equal(t, h.Signer, block.NewSigner(c.SignerPubRaw))
		index := block.Sum(h.Encode())
		require.Equal(t, []byte(c.IndexHash), index[:])
		require.NoError(t, h.Validate())

		p, err := block.DecodeSignedHeader(c.P2PHeader)
		require.NoError(t, err)
		require.Equal(t, []byte(c.P2PHeader), p.EncodeP2P())
		require.Equal(t, h.Digest(), p.Digest())
	}
}

func TestCapturedData(t *testing.T) {
	for _, c := range capturedBlocks(t) {
		d, err := block.DecodeData(c.Data)
		require.NoError(t, err)
		require.Equal(t, []byte(c.Data), d.Encode())
		require.Equal(t, len(c.Data), d.Size())
		require.Equal(t, []byte(c.P2PData), d.EncodeP2P())
		require.Equal(t, []byte(c.DataHash), []byte(d.Hash()))
		commitment := d.Commitment()
		require.Equal(t, []byte(c.Commitment), commitment[:])
		require.Equal(t, commitment, block.Commit(raw(c.Txs)))
		require.Equal(t, raw(c.Txs), append([][]byte{}, d.Txs...))
		require.NoError(t, d.Validate())

		p, err := block.DecodeData(c.P2PData)
		require.NoError(t, err)
		require.Equal(t, []byte(c.P2PData), p.EncodeP2P())
	}
}

func TestCapturedGossipAndFrames(t *testing.T) {
	for _, c := range capturedBlocks(t) {
		if c.Height == 1 {
			require.Nil(t, c.GossipHeader, "the first block is never gossiped")
		} else {
			require.Equal(t, c.P2PHeader, c.GossipHeader.Data)
			require.Equal(t, c.P2PData, c.GossipData.Data)
			require.Equal(t, []byte(c.P2PHeader), bytesField(t, c.GossipHeader.PubsubMessage, 2))
			require.Equal(t, []byte(c.P2PData), bytesField(t, c.GossipData.PubsubMessage, 2))
		}
		h, err := block.DecodeSignedHeader(frameBody(t, c.HeaderFrame))
		require.NoError(t, err)
		require.Equal(t, c.DAHeightHeader, h.DAHint)
		require.Equal(t, frameBody(t, c.HeaderFrame), h.EncodeP2P())
		d, err := block.DecodeData(frameBody(t, c.DataFrame))
		require.NoError(t, err)
		require.Equal(t, c.DAHeightData, d.DAHint)
		require.Equal(t, frameBody(t, c.DataFrame), d.EncodeP2P())
	}
}

func TestCapturedBlobs(t *testing.T) {
	for _, c := range capturedBlocks(t) {
		e, err := block.DecodeHeaderEnvelope(c.DAHeader.Blob)
		require.NoError(t, err)
		require.NoError(t, e.Verify())
		require.Equal(t, []byte(c.DAHeader.Blob), e.Encode())
		require.Equal(t, []byte(c.SignedHeader), e.Header.Encode())
		if c.DAData == nil {
			require.True(t, e.Header.IsEmpty(), "only empty blocks have no data blob")
			continue
		}
		s, err := block.DecodeSignedData(c.DAData.Blob)
		require.NoError(t, err)
		require.NoError(t, s.Verify())
		require.Equal(t, []byte(c.DAData.Blob), s.Encode())
		require.Equal(t, []byte(c.Data), s.Data.Encode())
	}
}

// TestCapturedChain applies the whole captured chain with the rules a follower
// applies, and rebuilds what a follower rebuilds.
func TestCapturedChain(t *testing.T) {
	g, err := block.LoadGenesis("testdata/genesis.json")
	require.NoError(t, err)
	state := block.GenesisState(g, nil)
	var lastData []byte
	for _, c := range capturedBlocks(t) {
		h, err := block.DecodeSignedHeader(c.SignedHeader)
		require.NoError(t, err)
		d, err := block.DecodeData(c.Data)
		require.NoError(t, err)
		require.NoError(t, block.Verify(state, block.Block{Header: h, Data: d}, h.Time()))
		require.NoError(t, block.VerifyDataLink(d, lastData))
		require.Equal(t, d.Encode(), block.CanonicalData(h, d.Txs, lastData).Encode())
		if h.IsEmpty() {
			require.Equal(t, d.Encode(), block.EmptyData(h, lastData).Encode())
		}
		require.Equal(t, c.RootText, string([]rune(string(c.RootAfter))), "the text has U+FFFD for bytes that are not UTF-8")

		want, err := block.DecodeState(c.StateAfter)
		require.NoError(t, err)
		require.Equal(t, []byte(c.StateAfter), want.Encode())
		state = state.Next(h, block.ExecResult{StateRoot: c.RootAfter})
		state.DAHeight = want.DAHeight
		require.Equal(t, []byte(c.StateAfter), state.Encode())
		lastData = d.Hash()
	}
}

type handmade struct {
	Name         string   `json:"name"`
	Address      hexBytes `json:"address"`
	Envelope     hexBytes `json:"da_header_envelope"`
	Hint         uint64   `json:"da_height_hint"`
	DataBytes    hexBytes `json:"data_bytes"`
	Commitment   hexBytes `json:"data_commitment"`
	DataHash     hexBytes `json:"data_hash"`
	DataSig      hexBytes `json:"data_signature"`
	HashEqual    bool     `json:"decoded_hash_equals"`
	Pub          hexBytes `json:"ed25519_pub"`
	Seed         hexBytes `json:"ed25519_seed"`
	EnvelopeSig  hexBytes `json:"envelope_signature"`
	HeaderLegacy hexBytes `json:"header_bytes_legacy"`
	HeaderSlim   hexBytes `json:"header_bytes_slim"`
	HeaderHash   hexBytes `json:"header_hash"`
	HashLegacy   hexBytes `json:"header_hash_legacy"`
	HashSlim     hexBytes `json:"header_hash_slim"`
	HeaderSig    hexBytes `json:"header_signature"`
	P2PData      hexBytes `json:"p2p_data"`
	P2PHeader    hexBytes `json:"p2p_signed_header"`
	PubProto     hexBytes `json:"pubkey_proto"`
	BatchHash    hexBytes `json:"sequencer_batch_hash"`
	SignedData   hexBytes `json:"signed_data"`
	SignedHeader hexBytes `json:"signed_header"`
	State        hexBytes `json:"state_bytes"`
	BasicErr     string   `json:"validate_basic_err"`
	Txs          []hexBytes
	Fields       struct {
		AppHash        hexBytes `json:"app_hash"`
		ChainID        string   `json:"chain_id"`
		DataHash       hexBytes `json:"data_hash"`
		Height         uint64   `json:"height"`
		LastHeaderHash hexBytes `json:"last_header_hash"`
		Proposer       hexBytes `json:"proposer_address"`
		Time           uint64   `json:"time"`
		ValidatorHash  hexBytes `json:"validator_hash"`
		VersionApp     uint64   `json:"version_app"`
		VersionBlock   uint64   `json:"version_block"`
	} `json:"fields"`
	Legacy struct {
		Consensus   hexBytes `json:"consensus_hash_7"`
		LastCommit  hexBytes `json:"last_commit_hash_5"`
		LastResults hexBytes `json:"last_results_hash_9"`
	} `json:"legacy"`
	Metadata struct {
		ChainID      string   `json:"chain_id"`
		Height       uint64   `json:"height"`
		LastDataHash hexBytes `json:"last_data_hash"`
		Time         uint64   `json:"time"`
	} `json:"metadata"`
}

func handmadeVectors(tb testing.TB) (vs []handmade, rest map[string]json.RawMessage) {
	tb.Helper()
	readVectors(tb, "testdata/handmade.json", &rest)
	require.NoError(tb, json.Unmarshal(rest["vectors"], &vs))
	require.Len(tb, vs, 4)
	return vs, rest
}

func (v handmade) header() block.Header {
	f := v.Fields
	return block.Header{
		Version: block.Version{Block: f.VersionBlock, App: f.VersionApp}, Height: f.Height, Time: f.Time,
		LastHeaderHash: f.LastHeaderHash, DataHash: f.DataHash, AppHash: f.AppHash, ProposerAddress: f.Proposer,
		ValidatorHash: f.ValidatorHash, ChainID: f.ChainID,
		Legacy: block.Legacy{
			LastCommitHash: v.Legacy.LastCommit, ConsensusHash: v.Legacy.Consensus, LastResultsHash: v.Legacy.LastResults,
		},
	}
}

func TestHandmadeHeaders(t *testing.T) {
	vs, _ := handmadeVectors(t)
	for _, v := range vs {
		t.Run(v.Name, func(t *testing.T) {
			h := v.header()
			require.Equal(t, []byte(v.HeaderSlim), h.Encode())
			require.Equal(t, []byte(v.HeaderLegacy), h.EncodeLegacy())
			slim, legacy := block.Sum(h.Encode()), block.Sum(h.EncodeLegacy())
			require.Equal(t, []byte(v.HashSlim), slim[:])
			require.Equal(t, []byte(v.HashLegacy), legacy[:])
			hash := h.ComputeHash()
			require.Equal(t, []byte(v.HeaderHash), hash[:])
			require.True(t, v.HashEqual)
			require.Equal(t, "<nil>", v.BasicErr)

			back, err := block.DecodeHeader(v.HeaderSlim)
			require.NoError(t, err)
			require.Equal(t, []byte(v.HeaderSlim), back.Encode())
			require.Equal(t, hash, back.ComputeHash())

			s := block.NewSignedHeader(h, v.HeaderSig, block.NewSigner(v.Pub))
			require.Equal(t, []byte(v.Address), s.Signer.Address)
			require.Equal(t, []byte(v.PubProto), s.Signer.PubKey)
			require.NoError(t, s.Validate())
			require.Equal(t, []byte(v.SignedHeader), s.Encode())
			require.Equal(t, []byte(v.P2PHeader), s.WithDAHint(v.Hint).EncodeP2P())

			got, err := block.DecodeSignedHeader(v.P2PHeader)
			require.NoError(t, err)
			require.Equal(t, hash, got.Digest())
			require.Equal(t, v.Hint, got.DAHint)
			require.NoError(t, got.Validate())

			e, err := block.DecodeHeaderEnvelope(v.Envelope)
			require.NoError(t, err)
			require.Equal(t, []byte(v.EnvelopeSig), e.Signature)
			require.Equal(t, []byte(v.Envelope), e.Encode())
			require.NoError(t, e.Verify())
		})
	}
}

func TestHandmadeData(t *testing.T) {
	vs, _ := handmadeVectors(t)
	for _, v := range vs {
		t.Run(v.Name, func(t *testing.T) {
			m := v.Metadata
			d := block.NewData(&block.Metadata{
				ChainID: m.ChainID, Height: m.Height, Time: m.Time, LastDataHash: m.LastDataHash,
			}, raw(v.Txs))
			require.Equal(t, []byte(v.DataBytes), d.Encode())
			require.Equal(t, []byte(v.DataHash), []byte(d.Hash()))
			commitment := d.Commitment()
			require.Equal(t, []byte(v.Commitment), commitment[:])
			require.Equal(t, []byte(v.P2PData), d.WithDAHint(v.Hint).EncodeP2P())

			got, err := block.DecodeData(v.P2PData)
			require.NoError(t, err)
			require.Equal(t, v.Hint, got.DAHint)
			require.Equal(t, []byte(v.P2PData), got.EncodeP2P())

			s, err := block.DecodeSignedData(v.SignedData)
			require.NoError(t, err)
			require.Equal(t, []byte(v.DataSig), s.Signature)
			require.Equal(t, []byte(v.SignedData), s.Encode())
			require.NoError(t, s.Verify())

			batch := binary.BigEndian.AppendUint64(nil, uint64(len(v.Txs)))
			for _, tx := range v.Txs {
				batch = append(binary.BigEndian.AppendUint64(batch, uint64(len(tx))), tx...)
			}
			if len(v.Txs) == 0 {
				batch = nil
			}
			sum := block.Sum(batch)
			require.Equal(t, []byte(v.BatchHash), sum[:])
		})
	}
}

func TestHandmadeStates(t *testing.T) {
	vs, _ := handmadeVectors(t)
	for _, v := range vs {
		s, err := block.DecodeState(v.State)
		require.NoError(t, err, v.Name)
		require.Equal(t, []byte(v.State), s.Encode(), v.Name)
		require.Equal(t, v.Fields.Height, s.LastHeight)
		require.Equal(t, v.Fields.ChainID, s.ChainID)
		require.Equal(t, time.Unix(0, int64(v.Fields.Time)).UTC(), s.LastTime)
		require.Equal(t, []byte(v.HeaderHash), s.LastHeaderHash)
	}
}

func TestHandmadeConstants(t *testing.T) {
	_, rest := handmadeVectors(t)
	var commitment, hash, slim, legacy hexBytes
	for key, into := range map[string]*hexBytes{
		"empty_data_commitment": &commitment, "empty_data_hash": &hash,
		"zero_header_slim": &slim, "zero_header_legacy": &legacy,
	} {
		require.NoError(t, json.Unmarshal(rest[key], into))
	}
	empty := block.EmptyCommitment()
	require.Equal(t, []byte(commitment), empty[:])
	require.Equal(t, empty, block.Commit(nil))
	require.Equal(t, []byte(hash), []byte(block.NewData(nil, nil).Hash()))
	require.Equal(t, []byte(slim), (&block.Header{}).Encode())
	require.Equal(t, []byte(legacy), (&block.Header{}).EncodeLegacy())
}

// bytesField returns the first bytes field with a number of a protobuf message.
func bytesField(t *testing.T, b []byte, want protowire.Number) []byte {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		require.Positive(t, n)
		if num == want && typ == protowire.BytesType {
			v, m := protowire.ConsumeBytes(b[n:])
			require.Positive(t, m)
			return v
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		require.GreaterOrEqual(t, m, 0)
		b = b[n+m:]
	}
	t.Fatalf("no field %d", want)
	return nil
}

// frameBody returns the body of a length-prefixed range response.
func frameBody(t *testing.T, frame []byte) []byte {
	t.Helper()
	msg, n := protowire.ConsumeBytes(frame)
	require.Equal(t, len(frame), n)
	return bytesField(t, msg, 1)
}
