package daworker

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

func TestJunkAtVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(2, 1)
		e.da.put(1, e.header(bs[0]), e.body(bs[0]))
		e.da.put(2, junkBlobs(e, 10_000)...)
		e.da.put(3, e.header(bs[1]), e.body(bs[1]))
		w, stop := e.run(t)
		e.requireAll(t, bs)
		s := w.Status()
		require.Equal(t, uint64(4), e.sink.at(), "junk does not hold the cursor")
		require.Zero(t, s.Pending.Bytes)
		require.LessOrEqual(t, s.Pending.QuarantineBytes, e.params.Config.QuarantineBytes)
		for _, why := range []string{"foreign", "proposer", "signature", "repeat", "namespace", "size", "empty", "height"} {
			if why != "namespace" { // the fake filters by namespace, as endpoints do
				require.NotZero(t, s.Stats.JunkByReason[why], why)
			}
		}
		require.NoError(t, stop())
	})
}

// junkBlobs returns n blobs no honest node posted, of every kind there is.
func junkBlobs(e *env, n int) []da.Blob {
	stranger := testutil.Key("stranger")
	other := testutil.NewChain("other")
	own := e.chain.Fork()
	next := own.Next([]byte("real"))
	out := make([]da.Blob, 0, n)
	for i := range n {
		tag := fmt.Appendf(nil, "%d", i)
		h := next.Header.Header
		h.AppHash = tag
		m := block.Metadata{ChainID: "torture", Height: uint64(i + 1), Time: uint64(i + 1)}
		var b []byte
		switch i % 10 {
		case 0:
			b = append([]byte("garbage "), tag...)
		case 1:
			h.ProposerAddress = block.NewSigner(stranger.Public().(ed25519.PublicKey)).Address
			b = testutil.Envelope(stranger, testutil.Sign(stranger, h))
		case 2: // ours by name, forged
			forged := block.NewSignedHeader(h, make([]byte, 64), next.Header.Signer)
			b = block.HeaderEnvelope{Header: forged, Signature: make([]byte, 64)}.Encode()
		case 3:
			b = testutil.DataBlob(stranger, block.NewData(&m, [][]byte{tag}))
		case 4:
			b = testutil.Envelope(other.Key, other.Next(tag).Header)
		case 5: // the same again
			b = testutil.Envelope(stranger, next.Header)
		case 6:
			b = nil
		case 7:
			m.Time = uint64(i)
			b = testutil.DataBlob(stranger, block.NewData(&m, nil))
		case 8: // own signature replayed over other data
			s := signed(e.chain.Key, next.Data)
			s.Data = block.NewData(&m, [][]byte{tag})
			b = s.Encode()
		case 9:
			h.Height = 0
			m.Height = 0
			b = testutil.DataBlob(stranger, block.NewData(&m, [][]byte{tag}))
		}
		ns := headerNS()
		if i%10 == 3 || i%10 >= 7 {
			ns = dataNS()
		}
		out = append(out, blob(ns, b))
	}
	return out
}

// A flood of strangers' data pushes the real data (posted by another key, before
// its header) out of the quarantine: it is found again.
func TestFloodedQuarantineIsSearchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Config.QuarantineBytes = 8 << 10
		stranger := testutil.Key("stranger")
		b := e.chain.Next([]byte("real"))
		e.da.put(1, blob(dataNS(), testutil.DataBlob(stranger, b.Data)))
		for i := range 100 {
			d := block.NewData(&block.Metadata{ChainID: "torture", Height: uint64(i + 1), Time: 1}, [][]byte{{byte(i)}})
			e.da.put(2, blob(dataNS(), testutil.DataBlob(stranger, d)))
		}
		e.da.put(3, e.header(b))
		w, stop := e.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		e.requireAll(t, []block.Block{b})
		require.LessOrEqual(t, w.Status().Stats.WalkBacks, uint64(1))
		require.LessOrEqual(t, w.Status().Pending.QuarantineBytes, 8<<10)
		require.NoError(t, stop())
	})
}

// More of the proposer's is pending than fits: the highest heights give way and
// the cursor walks back for them.
func TestPendingBudgetWalksBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Config.PendingBytes = 40 << 10
		bs := e.chain.Blocks(200, 1)
		for i, b := range bs {
			e.da.put(uint64(i+1), e.header(b))
		}
		for i, b := range bs {
			e.da.put(uint64(i+201), e.body(b))
		}
		// Headers wait for the first one, data for headers.
		e.da.heights[1], e.da.heights[400] = nil, append(e.da.heights[400], e.header(bs[0]))
		w, stop := e.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		e.requireAll(t, bs)
		s := w.Status()
		require.NotZero(t, s.Stats.WalkBacks)
		require.Less(t, s.Stats.WalkBacks, uint64(50))
		require.Equal(t, uint64(401), e.sink.at())
		require.NoError(t, stop())
	})
}

// Data that is nowhere is not looked for at every poll, however much strangers post
// beside it.
func TestFloodedQuarantineIsSearchedOncePerBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Config.QuarantineBytes = 8 << 10
		stranger := testutil.Key("stranger")
		b := e.chain.Next([]byte("real"))
		for i := range 100 {
			d := block.NewData(&block.Metadata{ChainID: "torture", Height: uint64(i + 1), Time: 1}, [][]byte{{byte(i)}})
			e.da.put(2, blob(dataNS(), testutil.DataBlob(stranger, d)))
		}
		e.da.put(3, e.header(b))
		w, stop := e.run(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Less(t, w.Status().Stats.WalkBacks, uint64(12), "an hour has 600 polls")
		require.NoError(t, stop())
	})
}
