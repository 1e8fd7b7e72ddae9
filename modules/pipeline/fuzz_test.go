package pipeline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
)

// FuzzBlocks feeds a pipeline blocks as they come from the wire: honest ones, in
// any order and again, and such with bytes changed. What is applied is the honest
// chain all the time, nothing is executed twice, and in the end all of it is there.
//
// The input is a list of steps: which block and from where, how many bytes are
// changed in its header and its data, and for each the place and the new byte.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 2, 0, 0})
	f.Add([]byte{5, 0, 0, 0, 0, 0, 0x80, 0, 0, 1, 1, 0, 9, 7, 1, 0, 1, 3, 3})
	f.Add([]byte{0x40, 2, 0, 3, 1, 40, 200, 0, 0, 0, 0x81, 0, 0})
	const blocks = 6
	f.Fuzz(func(t *testing.T, in []byte) {
		w := newWorld(t, blocks)
		p := w.start()
		s := steps{rest: in}
		for len(s.rest) > 0 {
			op := s.byte()
			b := w.blocks[int(op&0x3f)%blocks]
			header, err := block.DecodeSignedHeader(s.change(b.Header.EncodeP2P()))
			if err != nil {
				continue
			}
			data, err := block.DecodeData(s.change(b.Data.EncodeP2P()))
			if err != nil {
				continue
			}
			got := block.Block{Header: header, Data: data}
			if op&0x80 != 0 && header.Digest() == b.Header.Digest() && data.Commitment() == b.Data.Commitment() {
				_ = p.Include(t.Context(), seen(got, uint64(op)), upTo(1))
				continue
			}
			source := block.SourceP2P
			if op&0x40 != 0 {
				source = block.SourceDA
			}
			if err := p.Apply(t.Context(), []block.Block{got}, source); isPermanent(err) {
				t.Fatalf("a forged block stopped the pipeline: %v", err)
			}
			checkApplied(t, w, p.Snapshot().Applied())
		}
		require.NoError(t, p.Apply(t.Context(), w.blocks, block.SourceP2P))
		checkApplied(t, w, blocks)
		require.Equal(t, heights(1, blocks), w.exec.ran)
		require.Empty(t, w.exec.again)
	})
}

func checkApplied(t *testing.T, w *world, height uint64) {
	t.Helper()
	for h := uint64(1); h <= height; h++ {
		st, err := w.store.StateAt(t.Context(), h)
		require.NoError(t, err)
		require.Equal(t, []byte(w.at(h).Header.Hash()), st.LastHeaderHash)
		require.Equal(t, w.roots[h], st.AppHash)
	}
}

// steps are read from the input; what is missing is zero.
type steps struct{ rest []byte }

func (s *steps) byte() byte {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

// change puts other bytes into an encoding, as the next steps say.
func (s *steps) change(enc []byte) []byte {
	for range s.byte() % 8 {
		at := (int(s.byte()) | int(s.byte())<<8) % len(enc)
		enc[at] = s.byte()
	}
	return enc
}
