package block_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
)

// Every decoder: whatever comes in, what was accepted encodes to something that
// decodes to the same, and nothing panics.

func seeds(f *testing.F, pick func(captured) []byte) {
	f.Helper()
	for _, c := range capturedBlocks(f) {
		f.Add(pick(c))
	}
	f.Add([]byte{})
}

func FuzzSignedHeader(f *testing.F) {
	seeds(f, func(c captured) []byte { return c.P2PHeader })
	vs, _ := handmadeVectors(f)
	for _, v := range vs {
		f.Add([]byte(v.SignedHeader))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := block.DecodeSignedHeader(b)
		if err != nil {
			return
		}
		again, err := block.DecodeSignedHeader(h.EncodeP2P())
		require.NoError(t, err)
		require.Equal(t, h.EncodeP2P(), again.EncodeP2P())
		require.Equal(t, h.Digest(), again.Digest())
		require.Equal(t, len(h.Encode()), h.Size())
		_ = h.Validate()
	})
}

func FuzzHeader(f *testing.F) {
	seeds(f, func(c captured) []byte {
		h, err := block.DecodeSignedHeader(c.P2PHeader)
		require.NoError(f, err)
		return h.Payload()
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := block.DecodeHeader(b)
		if err != nil {
			return
		}
		again, err := block.DecodeHeader(h.Encode())
		require.NoError(t, err)
		require.Equal(t, h.Encode(), again.Encode())
	})
}

func FuzzData(f *testing.F) {
	seeds(f, func(c captured) []byte { return c.P2PData })
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := block.DecodeData(b)
		if err != nil {
			return
		}
		again, err := block.DecodeData(d.EncodeP2P())
		require.NoError(t, err)
		require.Equal(t, d.EncodeP2P(), again.EncodeP2P())
		require.Equal(t, d.Digest(), again.Digest())
		require.Equal(t, d.Commitment(), block.Commit(d.Txs))
		_ = d.Validate()
	})
}

func FuzzHeaderEnvelope(f *testing.F) {
	seeds(f, func(c captured) []byte { return c.DAHeader.Blob })
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := block.DecodeHeaderEnvelope(b)
		if err != nil {
			return
		}
		again, err := block.DecodeHeaderEnvelope(e.Encode())
		require.NoError(t, err)
		require.Equal(t, e.Encode(), again.Encode())
		_ = e.Verify()
	})
}

func FuzzSignedData(f *testing.F) {
	seeds(f, func(c captured) []byte {
		if c.DAData == nil {
			return nil
		}
		return c.DAData.Blob
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := block.DecodeSignedData(b)
		if err != nil {
			return
		}
		again, err := block.DecodeSignedData(s.Encode())
		require.NoError(t, err)
		require.Equal(t, s.Encode(), again.Encode())
		_ = s.Verify()
	})
}

func FuzzState(f *testing.F) {
	seeds(f, func(c captured) []byte { return c.StateAfter })
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := block.DecodeState(b)
		if err != nil {
			return
		}
		again, err := block.DecodeState(s.Encode())
		require.NoError(t, err)
		require.Equal(t, s.Encode(), again.Encode())
	})
}

func FuzzGenesis(f *testing.F) {
	f.Add([]byte(`{"chain_id":"c1","start_time":"2026-11-22T13:39:26.254991123Z","initial_height":1,` +
		`"proposer_address":"ojyw0Deb24q15AdgbzzVkRNh29cq3mUXKN0w8ZtRnf0=","da_start_height":0,"da_epoch_forced_inclusion":50}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := block.DecodeGenesis(b)
		if err == nil {
			require.NoError(t, g.Validate())
			require.False(t, g.Hash().IsZero())
		}
	})
}
