package da

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
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
