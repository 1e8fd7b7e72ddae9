package exchange

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"testing"

	p2p_pb "github.com/celestiaorg/go-header/p2p/pb"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
)

type golden struct {
	ChainID string         `json:"chain_id"`
	Genesis goldenGenesis  `json:"genesis"`
	Blocks  []*goldenBlock `json:"blocks"`
}

type goldenGenesis struct {
	ProposerAddress []byte `json:"proposer_address"`
}

type goldenBlock struct {
	Height         uint64 `json:"height"`
	HeaderFrame    string `json:"headerex_header_frame"`
	DataFrame      string `json:"headerex_data_frame"`
	Header         string `json:"p2p_signed_header_hint0"`
	Data           string `json:"p2p_data_hint0"`
	HeaderHash     string `json:"header_hash"`
	StoreIndexHash string `json:"store_index_hash"`
	HeaderDA       uint64 `json:"da_height_header"`
	DataDA         uint64 `json:"da_height_data"`
}

func loadGolden(tb testing.TB) golden {
	tb.Helper()
	b, err := os.ReadFile("testdata/frames.json")
	require.NoError(tb, err)
	var g golden
	require.NoError(tb, json.Unmarshal(b, &g))
	require.NotEmpty(tb, g.Blocks)
	return g
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(tb, err)
	return b
}

func (b *goldenBlock) header(tb testing.TB) *block.SignedHeader {
	tb.Helper()
	h, err := block.DecodeSignedHeader(unhex(tb, b.Header))
	require.NoError(tb, err)
	return h
}

func (b *goldenBlock) data(tb testing.TB) *block.Data {
	tb.Helper()
	d, err := block.DecodeData(unhex(tb, b.Data))
	require.NoError(tb, err)
	return d
}

func readOne(tb testing.TB, frame []byte) []byte {
	tb.Helper()
	m, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), nil, block.MaxFrameBytes, nil)
	require.NoError(tb, err)
	body, err := decodeResponse(m)
	require.NoError(tb, err)
	return body
}

// Frames captured from real nodes are what we write and what we read.
func TestGoldenFrames(t *testing.T) {
	for _, b := range loadGolden(t).Blocks {
		h, err := block.DecodeSignedHeader(readOne(t, unhex(t, b.HeaderFrame)))
		require.NoError(t, err)
		require.Equal(t, b.header(t).Digest(), h.Digest())
		require.Equal(t, b.HeaderFrame, hex.EncodeToString(frameOf(b.header(t).WithDAHint(h.DAHint).EncodeP2P())))
		d, err := block.DecodeData(readOne(t, unhex(t, b.DataFrame)))
		require.NoError(t, err)
		require.Equal(t, b.data(t).Digest(), d.Digest())
		require.Equal(t, b.DataFrame, hex.EncodeToString(frameOf(b.data(t).WithDAHint(d.DAHint).EncodeP2P())))
	}
}

func TestRequestFrames(t *testing.T) {
	require.Equal(t, "0408001801", hex.EncodeToString(request{amount: 1}.appendFrame(nil)))
	head, tail := appendResponse(nil, 0)
	require.Equal(t, "021002", hex.EncodeToString(append(head, tail[:]...)))
	for _, r := range []request{
		{hasOrigin: true, amount: 1}, {origin: 300, hasOrigin: true, amount: 64}, {hash: make([]byte, 32), hasHash: true, amount: 1},
	} {
		frame := r.appendFrame(nil)
		m, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), nil, maxRequestBytes, nil)
		require.NoError(t, err)
		got, err := decodeRequest(m)
		require.NoError(t, err)
		require.Equal(t, r, got)
		var pb p2p_pb.HeaderRequest // and the reference reads the same
		require.NoError(t, pb.Unmarshal(m))
		require.Equal(t, r.amount, pb.Amount)
		require.Equal(t, r.origin, pb.GetOrigin())
		require.Equal(t, r.hash, pb.GetHash())
		require.NotNil(t, pb.Data)
	}
	r, err := decodeRequest([]byte{0x18, 0x01})
	require.NoError(t, err)
	require.False(t, r.hasOrigin || r.hasHash)
}

func TestReadFrameLimits(t *testing.T) {
	big := bytes.Repeat([]byte{7}, 3<<20)
	frame := append([]byte{0x80, 0x80, 0xc0, 0x01}, big...)
	got, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), nil, block.MaxFrameBytes, nil)
	require.NoError(t, err)
	require.True(t, bytes.Equal(big, got))
	_, err = readFrame(bufio.NewReader(bytes.NewReader(frame)), nil, len(big)-1, nil)
	require.ErrorIs(t, err, block.ErrTooLarge)
	_, err = readFrame(bufio.NewReader(bytes.NewReader(frame[:1000])), nil, block.MaxFrameBytes, nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = readFrame(bufio.NewReader(bytes.NewReader(nil)), nil, block.MaxFrameBytes, nil)
	require.ErrorIs(t, err, io.EOF)
	// What is announced is not allocated.
	announced := append([]byte{0x80, 0x80, 0x80, 0x05}, 1)
	buf, err := readFrame(bufio.NewReader(bytes.NewReader(announced)), nil, block.MaxFrameBytes, nil)
	require.Error(t, err)
	require.Less(t, cap(buf), 1<<20)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{8, 0, 0x18, 1})
	f.Add([]byte{2, 0x10, 2})
	f.Add([]byte{0x0a, 3, 1, 2, 3, 0x10, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeRequest(b)
		_, _ = decodeResponse(b)
		got, err := readFrame(bufio.NewReader(bytes.NewReader(b)), nil, 1<<16, nil)
		if err == nil {
			require.LessOrEqual(t, len(got), 1<<16)
		}
	})
}
