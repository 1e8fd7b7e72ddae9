package chainstore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/testutil"
)

// FuzzRecords: whatever a damaged disk holds, what was accepted encodes to the same
// again, and nothing panics.
func FuzzRecords(f *testing.F) {
	b := testutil.NewChain("c").Next([]byte("k=v"))
	in := encodeIncluded(Included{HeaderHash: b.Header.Digest(), HeaderDA: 7, Commitment: b.Data.Commitment(), DataDA: 8})
	f.Add(in[:])
	p := progress{final: 1, floor: 2, submittedHeader: 3, submittedData: 4, state: 5, included: 6, scanned: 7, hasState: true}.encode()
	f.Add(p[:])
	s := span{tail: 2, head: 5, bottom: 1, top: 9}.encode()
	f.Add(s[:])
	f.Add(append([]byte{byte(b.Header.Size()), 1}, b.Header.AppendTo(nil)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if in, err := decodeIncluded(raw); err == nil {
			again := encodeIncluded(in)
			require.Equal(t, raw, again[:])
		}
		if p, err := decodeProgress(raw); err == nil {
			enc := p.encode()
			again, err := decodeProgress(enc[:])
			require.NoError(t, err)
			require.Equal(t, p, again)
		}
		if s, err := decodeSpan(raw); err == nil {
			again := s.encode()
			require.Equal(t, raw, again[:])
			require.True(t, s.bottom <= s.tail && s.tail <= s.head && s.head <= s.top)
		}
		if b, err := decodePending(raw); err == nil {
			require.NotNil(t, b.Header)
		}
		_, _ = headerKind().decode(raw)
		_, _ = dataKind().decode(raw)
	})
}

// Records from before the scan position was kept have it at the floor.
func TestProgressWithoutScanned(t *testing.T) {
	b := progress{final: 1, floor: 2, submittedHeader: 3, submittedData: 4, state: 5, included: 6, hasState: true}.encode()
	old := append(append([]byte{}, b[:unscannedSize-1]...), 1)
	p, err := decodeProgress(old)
	require.NoError(t, err)
	require.Equal(t, progress{final: 1, floor: 2, submittedHeader: 3, submittedData: 4, state: 5, included: 6, scanned: 2, hasState: true}, p)
}
