package da

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzLedgerRecords: what the local DA node finds on a damaged disk is an error or
// a record, never a panic.
func FuzzLedgerRecords(f *testing.F) {
	f.Add(meta{head: 3, tail: 1, spent: 2}.encode())
	f.Add(append(make([]byte, blobFixedSize), "data"...))
	f.Add(append([]byte{1, 20}, make([]byte, blobFixedSize+20)...))
	ns := NamespaceOf("a")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := decodeMeta(raw); err == nil {
			require.Equal(t, raw, m.encode())
		}
		if b, err := decodeLedgerBlob(ns, raw); err == nil {
			require.Equal(t, ns, b.Namespace)
			require.Len(t, raw, blobFixedSize+len(b.signer)+len(b.Data))
			require.Equal(t, storedCommitment(raw), b.Commitment)
		}
	})
}
