package evnode

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/app"
	"github.com/tandem-node/tandem/modules/block"
)

type hexBytes []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// captured is a block of a chain that a real sequencer of ev-node made.
type captured struct {
	Height       uint64   `json:"height"`
	SignedHeader hexBytes `json:"signed_header"`
	Data         hexBytes `json:"data"`
	P2PHeader    hexBytes `json:"p2p_signed_header_hint0"`
	P2PData      hexBytes `json:"p2p_data_hint0"`
	Root         hexBytes `json:"state_root_after"`
	HeaderAt     uint64   `json:"da_height_header"`
	DataAt       uint64   `json:"da_height_data"`
	DAHeader     struct {
		Blob hexBytes `json:"blob"`
	} `json:"da_header"`
	DAData *struct {
		Blob hexBytes `json:"blob"`
	} `json:"da_data"`
	Txs []hexBytes `json:"txs_hex"`
}

func loadCaptured(t *testing.T) []captured {
	t.Helper()
	raw, err := os.ReadFile("../../modules/block/testdata/blocks.json")
	require.NoError(t, err)
	var file struct {
		Blocks []captured `json:"blocks"`
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Blocks)
	return file.Blocks
}

// evHome is a home as ev-node's init made it: its files at their places.
func evHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(home, "config"), 0o700))
	for _, path := range []string{
		"../../modules/block/testdata/genesis.json", "../../modules/signer/testdata/node_key.json",
		"../../modules/signer/testdata/signer.json", "../../modules/signer/testdata/signer_passphrase.txt",
	} {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(home, "config", filepath.Base(path)), raw, 0o600))
	}
	return home
}

// prepared reads a home the way 'tandem start' does.
func prepared(t *testing.T, s *spec) app.Setup {
	t.Helper()
	change := s.change
	s.change = func(c *app.Config) {
		c.Signer.PassphraseFile = "config/signer_passphrase.txt"
		c.Namespaces = app.Namespaces{Header: "c1-headers", Data: "c1-data"}
		if change != nil {
			change(c)
		}
	}
	setup, err := app.Prepare(t.Context(), app.PrepareParams{Home: evHome(t), Version: "test", Config: s.config(), LogTo: io.Discard})
	require.NoError(t, err)
	s.genesis = setup.Genesis
	if left := time.Until(setup.Genesis.StartTime); left > 0 {
		t.Skipf("the captured chain begins in %s by this machine's clock", left)
	}
	return setup
}

// The captured chain, served by P2P and lying on DA where it lay, gives the state
// roots the real nodes had.
func TestCapturedChain(t *testing.T) {
	t.Parallel()
	blocks := loadCaptured(t)
	last := blocks[len(blocks)-1].Height
	n := newEvNode(t, "c1")
	mock := newLocalMock(t)
	headerNS, dataNS := namespaces("c1-headers", "c1-data")
	var made []evBlock
	roots := map[uint64][]byte{}
	for _, c := range blocks {
		b := evBlock{new(evHeader), new(evData)}
		require.NoError(t, b.header.UnmarshalBinary(c.P2PHeader))
		require.NoError(t, b.data.UnmarshalBinary(c.P2PData))
		n.hints.set(b.header, "header", c.HeaderAt)
		n.hints.set(b.header, "data", c.DataAt)
		mock.putAt(c.HeaderAt, &rpcBlob{Namespace: headerNS, Data: c.DAHeader.Blob})
		if c.DAData != nil {
			mock.putAt(c.DataAt, &rpcBlob{Namespace: dataNS, Data: c.DAData.Blob})
		}
		made = append(made, b)
		roots[c.Height] = c.Root
	}
	ledger := newLedger(block.Genesis{ChainID: "c1", InitialHeight: 1, ProposerAddress: made[0].header.inner().GetProposerAddress()})
	for _, b := range made {
		require.NoError(t, ledger.apply(b), "the rules of this package hold for the real chain")
		require.Equal(t, string(roots[b.header.Height()]), string(ledger.appHash))
		n.publish(t, b)
	}
	for _, s := range []spec{
		{name: "p2p-only", role: app.RoleFull, peers: []string{n.address(t)}},
		{name: "da-only", role: app.RoleFull, da: mock.url},
	} {
		x := run(t, s, prepared(t, &s))
		x.applied(last)
		x.same(made, roots)
		x.unblamed()
		if s.da != "" {
			x.final(last)
			in, err := x.store.Inclusion(t.Context(), 3)
			require.NoError(t, err)
			require.Equal(t, []uint64{6, 7}, []uint64{in.HeaderDA, in.DataDA})
		}
	}
}

// A Tandem sequencer in the home of an ev-node one makes that chain's first block
// to the byte, on DA too, and is the same peer. The DA layer is at height 0 and
// makes no blocks by itself.
func TestHomeOfEvNode(t *testing.T) {
	t.Parallel()
	first := loadCaptured(t)[0]
	mock := newLocalMock(t)
	s := spec{name: "sequencer", role: app.RoleSequencer, da: mock.url, change: func(c *app.Config) {
		c.Sequencer.BlockTime = time.Hour
	}}
	for _, tx := range first.Txs {
		s.txs = append(s.txs, string(tx))
	}
	seq := run(t, s, prepared(t, &s))
	seq.final(1)

	var key struct {
		Pub []byte `json:"pub_key"`
	}
	raw, err := os.ReadFile("../../modules/signer/testdata/node_key.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &key))
	id, err := peer.IDFromBytes(append([]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}, key.Pub...))
	require.NoError(t, err)
	require.Equal(t, id, seq.network.ID())

	full := newEvNode(t, "c1", seq.address())
	full.follow(t, 1)
	b := full.block(t, 1)
	require.Equal(t, []byte(first.SignedHeader), encode(b.header.signed()))
	require.Equal(t, first.Data, hexBytes(encode(plain(b.data))))
	var blobs [][]byte
	for height := uint64(1); height <= mock.height; height++ {
		for _, b := range mock.blobs[height] {
			blobs = append(blobs, b.Data)
		}
	}
	require.Len(t, blobs, 2)
	require.True(t, slices.ContainsFunc(blobs, func(b []byte) bool { return slices.Equal(b, first.DAHeader.Blob) }))
	require.True(t, slices.ContainsFunc(blobs, func(b []byte) bool { return slices.Equal(b, first.DAData.Blob) }))
}
