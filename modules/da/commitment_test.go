package da

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/celestiaorg/go-square/v3/inclusion"
	"github.com/celestiaorg/go-square/v3/share"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type vectors struct {
	Namespaces []struct {
		Namespace string `json:"namespace"`
		String    string `json:"string"`
	} `json:"namespaces"`
	Commitments []struct {
		Commitment string `json:"commitment"`
		ID         string `json:"id_at_height_258"`
		Len        int    `json:"len"`
		Namespace  string `json:"namespace"`
	} `json:"commitments_v0"`
}

func loadVectors(t *testing.T) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var v vectors
	require.NoError(t, json.Unmarshal(raw, &v))
	return v
}

// pattern is the data rule of the vectors: byte i is i*7 mod 256.
func pattern(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i * 7)
	}
	return out
}

func TestNamespaceVectors(t *testing.T) {
	v := loadVectors(t)
	require.NotEmpty(t, v.Namespaces)
	for _, c := range v.Namespaces {
		require.Equal(t, "0x"+c.Namespace, NamespaceOf(c.String).String(), c.String)
	}
}

func TestCommitmentVectors(t *testing.T) {
	v := loadVectors(t)
	require.NotEmpty(t, v.Commitments)
	for _, c := range v.Commitments {
		got, err := Commit(NamespaceOf(c.Namespace), pattern(c.Len))
		require.NoError(t, err)
		require.Equal(t, c.Commitment, got.String(), c.Len)
		id := binary.LittleEndian.AppendUint64(nil, 258)
		require.Equal(t, c.ID, hex.EncodeToString(append(id, got[:]...)))
	}
}

func TestCommitEmptyData(t *testing.T) {
	_, err := Commit(NamespaceOf("a"), nil)
	require.ErrorContains(t, err, "data can not be empty")
}

// The library of the real node makes the same commitments.
func TestCommitIsThatOfTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := NamespaceOf(rapid.String().Draw(t, "namespace"))
		size := rapid.OneOf(rapid.IntRange(1, 2000), rapid.IntRange(1, 200_000)).Draw(t, "size")
		data := pattern(size)
		data[size-1] = rapid.Byte().Draw(t, "last")
		version, signer := share.ShareVersionZero, []byte(nil)
		if rapid.Bool().Draw(t, "signed") {
			version, signer = share.ShareVersionOne, pattern(share.SignerSize)
		}
		id, err := share.NewNamespaceFromBytes(ns[:])
		require.NoError(t, err)
		blob, err := share.NewBlob(id, data, version, signer)
		require.NoError(t, err)
		want, err := inclusion.CreateCommitment(blob, merkleRoot, subtreeRootThreshold)
		require.NoError(t, err)
		got, err := commit(ns, data, version, signer)
		require.NoError(t, err)
		require.Equal(t, want, got[:])
	})
}

func BenchmarkCommit(b *testing.B) {
	ns := NamespaceOf("bench")
	for _, size := range []int{300, 10_000, 100_000, 1 << 20, 5 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			data := pattern(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Commit(ns, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
