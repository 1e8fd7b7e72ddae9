package block_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/testutil"
)

// allocated is what a call allocates, and live what of it is left afterwards.
func allocated(t *testing.T, f func() any) (all, live int) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := f()
	runtime.ReadMemStats(&after)
	all = int(after.TotalAlloc - before.TotalAlloc)
	runtime.GC()
	runtime.ReadMemStats(&after)
	live = int(after.HeapAlloc) - int(before.HeapAlloc)
	runtime.KeepAlive(kept)
	return all, live
}

// Data of nothing but empty transactions takes 13 times its bytes. HeldData says so
// before it is decoded, and decoding allocates no more than that and the encoding.
func TestHeldDataIsWhatIsHeld(t *testing.T) {
	c := testutil.NewChain("c")
	m := &block.Metadata{ChainID: "c", Height: 1}
	for name, b := range map[string][]byte{
		"empty transactions": append(block.NewData(m, nil).Encode(), bytes.Repeat([]byte{2<<3 | 2, 0}, 2<<20)...),
		"one large":          block.NewData(m, [][]byte{make([]byte, 5<<20)}).EncodeP2P(),
		"a block":            c.Next(bytes.Repeat([]byte("tx"), 1<<19)).Data.EncodeP2P(),
	} {
		t.Run(name, func(t *testing.T) {
			var d *block.Data
			all, live := allocated(t, func() any {
				var err error
				d, err = block.DecodeData(b)
				require.NoError(t, err)
				return d
			})
			held := block.HeldData(b)
			t.Logf("%d bytes: held %d, live %d, allocated %d", len(b), held, live, all)
			require.InEpsilon(t, live, held, 0.1)
			require.InEpsilon(t, held, d.Held(), 0.01)
			require.Less(t, all, held+held/10)
		})
	}
}

// A header keeps nothing of the message it came in.
func TestHeaderKeepsNothingUnknown(t *testing.T) {
	h := testutil.NewChain("c").Next().Header
	junk := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, 1<<20))
	small := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, 1<<19))
	tail := h.EncodeP2P()[len(protowire.AppendBytes([]byte{1}, h.Payload())):]
	for name, b := range map[string][]byte{
		"behind":          append(h.EncodeP2P(), junk...),
		"in the header":   append(protowire.AppendBytes([]byte{1<<3 | 2}, append(bytes.Clone(h.Payload()), small...)), tail...),
		"repeated fields": append(bytes.Repeat(protowire.AppendBytes([]byte{2<<3 | 2}, make([]byte, 1<<10)), 1<<10), h.EncodeP2P()...),
	} {
		t.Run(name, func(t *testing.T) {
			var got *block.SignedHeader
			_, live := allocated(t, func() any {
				var err error
				got, err = block.DecodeSignedHeader(b)
				require.NoError(t, err)
				return got
			})
			require.Less(t, live, 100<<10)
			require.Less(t, got.Held(), 10<<10)
			require.Equal(t, h.Digest(), got.Digest())
			require.Equal(t, h.Encode(), got.Encode())
			require.NoError(t, got.VerifySignature())
		})
	}
}

// Signed data keeps nothing of the blob it came in, whose padding nobody signs or counts.
func TestSignedDataKeepsNothingUnknown(t *testing.T) {
	one := testutil.NewChain("c").Next([]byte("tx"))
	blob := block.SignedData{Data: one.Data, Signature: make([]byte, 64), Signer: one.Header.Signer}.Encode()
	blob = protowire.AppendBytes(protowire.AppendTag(blob, 15, protowire.BytesType), make([]byte, 1<<20))
	var got block.SignedData
	_, live := allocated(t, func() any {
		var err error
		got, err = block.DecodeSignedData(blob)
		require.NoError(t, err)
		return got
	})
	require.Less(t, live, 100<<10)
	require.Equal(t, one.Data.Digest(), got.Data.Digest())
	clear(blob)
	require.Equal(t, one.Header.Signer, got.Signer, "the input may be reused")
}

// IsP2P knows the one form an item has in gossip.
func TestIsP2P(t *testing.T) {
	c := testutil.NewChain("c")
	one := c.Next([]byte("a"), nil)
	h, d := one.Header.WithDAHint(7), one.Data.WithDAHint(7)
	require.True(t, h.IsP2P(h.EncodeP2P()))
	require.True(t, d.IsP2P(d.EncodeP2P()))
	unknown := []byte{15 << 3, 1}
	for name, spoil := range map[string]func(b []byte) []byte{
		"unknown field":       func(b []byte) []byte { return append(bytes.Clone(b), unknown...) },
		"in front":            func(b []byte) []byte { return append(bytes.Clone(unknown), b...) },
		"hint twice":          func(b []byte) []byte { return append(bytes.Clone(b), b[len(b)-2:]...) },
		"no hint":             func(b []byte) []byte { return b[:len(b)-2] },
		"hint of two bytes":   func(b []byte) []byte { return append(bytes.Clone(b[:len(b)-1]), 0x87, 0) },
		"length of two bytes": func(b []byte) []byte { return append([]byte{b[0], b[1] | 0x80, 0}, b[2:]...) },
	} {
		hb, db := spoil(h.EncodeP2P()), spoil(d.EncodeP2P())
		gotHeader, err := block.DecodeSignedHeader(hb)
		if err == nil {
			require.False(t, gotHeader.IsP2P(hb), "header, %s", name)
		}
		gotData, err := block.DecodeData(db)
		require.NoError(t, err, name)
		require.False(t, gotData.IsP2P(db), "data, %s", name)
	}
}
