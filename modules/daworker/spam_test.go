package daworker

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

// spam is one kind of blob no honest node posts, or posts so often.
type spam struct {
	make func(i int) da.Blob
	why  string // it is junk for; empty when it is held in quarantine, or harmless
}

// spams returns all kinds. Block 1 is stored, the header of block 2 is, and block
// 3 is not known.
func spams(e *env, bs []block.Block) map[string]spam {
	stranger := testutil.Key("stranger")
	public, _ := stranger.Public().(ed25519.PublicKey)
	theirs := testutil.NewChain("other")
	foreign := testutil.Envelope(theirs.Key, theirs.Next([]byte("theirs")).Header)
	first, third := testutil.Envelope(e.chain.Key, bs[0].Header), testutil.Envelope(e.chain.Key, bs[2].Header)
	tag := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }
	header := func(i int, change func(h *block.Header)) block.Header {
		h := bs[2].Header.Header
		h.AppHash = tag(i)
		if change != nil {
			change(&h)
		}
		return h
	}
	meta := func(height uint64, i int) *block.Metadata {
		return &block.Metadata{ChainID: "torture", Height: height, Time: uint64(i + 1)}
	}
	noSignature := make([]byte, ed25519.SignatureSize)
	unsigned := func(d *block.Data) []byte {
		return block.SignedData{Data: d, Signature: noSignature, Signer: block.NewSigner(public)}.Encode()
	}
	in := func(ns da.Namespace, b []byte) da.Blob {
		return da.Blob{Namespace: ns, Data: b, Commitment: sha256.Sum256(b)}
	}
	return map[string]spam{
		"garbage": {func(i int) da.Blob { return in(headerNS(), append([]byte("garbage"), tag(i)...)) }, "foreign"},
		"protobuf of something else": {func(i int) da.Blob {
			return in(dataNS(), append([]byte{0x0a, 8}, tag(i)...))
		}, "foreign"},
		"blobs of another chain": {func(int) da.Blob { return in(headerNS(), foreign) }, "foreign"},
		"self-signed headers": {func(i int) da.Blob {
			h := header(i, func(h *block.Header) { h.ProposerAddress = block.NewSigner(public).Address })
			return in(headerNS(), block.HeaderEnvelope{Header: block.NewSignedHeader(h, noSignature, block.NewSigner(public)), Signature: noSignature}.Encode())
		}, "proposer"},
		"forged headers": {func(i int) da.Blob {
			h := block.NewSignedHeader(header(i, nil), noSignature, bs[2].Header.Signer)
			return in(headerNS(), block.HeaderEnvelope{Header: h, Signature: noSignature}.Encode())
		}, "signature"},
		"self-signed envelopes": {func(i int) da.Blob {
			signature := append(tag(i), noSignature...)[:ed25519.SignatureSize]
			return in(headerNS(), block.HeaderEnvelope{Header: bs[2].Header, Signature: signature}.Encode())
		}, "signature"},
		"headers in the data namespace": {func(i int) da.Blob {
			b := in(dataNS(), third)
			copy(b.Commitment[:], tag(i))
			return b
		}, "namespace"},
		"replayed headers": {func(i int) da.Blob {
			b := in(headerNS(), first)
			copy(b.Commitment[:], tag(i)) // as if the bytes differed
			return b
		}, ""},
		"the same blob": {func(int) da.Blob { return in(dataNS(), unsigned(bs[1].Data)) }, "repeat"},
		"data of strangers": {func(i int) da.Blob {
			return in(dataNS(), unsigned(block.NewData(meta(uint64(i+1), i), [][]byte{tag(i)})))
		}, ""},
		"squatted data":       {func(i int) da.Blob { return in(dataNS(), unsigned(block.NewData(meta(2, i), [][]byte{tag(i)}))) }, ""},
		"data, forged copies": {func(i int) da.Blob { return in(dataNS(), unsigned(block.NewData(meta(2, i), bs[1].Data.Txs))) }, "signature"},
		"data, one commitment": {func(i int) da.Blob {
			return in(dataNS(), unsigned(block.NewData(meta(uint64(i+9), i), [][]byte{[]byte("same")})))
		}, "signature"},
		"data, replayed signature": {func(i int) da.Blob {
			s := signed(e.chain.Key, bs[1].Data)
			s.Data = block.NewData(meta(2, i), [][]byte{tag(i)})
			return in(dataNS(), s.Encode())
		}, "signature"},
	}
}

// cost is what a DA height costs, counted and not timed.
type cost struct {
	allocs, bytes uint64 // on the heap, altogether
	reads         int    // of stores
	held          int    // bytes kept for later
}

// costOf hands one DA height with n blobs of a kind to a reader.
func costOf(t *testing.T, name string, n int) cost {
	t.Helper()
	e := newEnv()
	bs := e.chain.Blocks(3, 1)
	s := spams(e, bs)[name]
	require.NoError(t, e.headers.put(testutil.Headers(bs[:2])...))
	require.NoError(t, e.data.put(bs[0].Data))
	blobs := make([]da.Blob, n)
	for i := range blobs {
		blobs[i] = s.make(i)
	}
	r := newReader(New(e.params))
	e.da.put(10)
	require.NoError(t, r.hand(t.Context(), []*found{r.asm.rules.classify(1, nil, e.params.Now())}))
	var before, after runtime.MemStats
	reads := e.headers.reads() + e.data.reads()
	runtime.ReadMemStats(&before)
	require.NoError(t, r.hand(t.Context(), []*found{r.asm.rules.classify(2, blobs, e.params.Now())}))
	runtime.ReadMemStats(&after)
	junk := r.asm.junk.byName()
	if s.why != "" {
		require.Greater(t, junk[s.why], uint64(n*9/10), "%s: %v", name, junk)
	} else {
		require.Empty(t, junk, name)
	}
	require.Equal(t, uint64(3), r.next)
	require.Equal(t, uint64(3), e.sink.at(), "%s: holds the cursor", name)
	require.Zero(t, r.asm.pending.bytes, name)
	require.LessOrEqual(t, r.asm.quarantine.bytes, e.params.Config.QuarantineBytes)
	require.Equal(t, uint64(1), e.data.Height())
	return cost{
		allocs: after.Mallocs - before.Mallocs, bytes: after.TotalAlloc - before.TotalAlloc,
		reads: e.headers.reads() + e.data.reads() - reads, held: r.asm.quarantine.bytes,
	}
}

// Ten times as many blobs of whatever kind cost ten times as much, and little
// each; none holds the cursor, none stays beyond a fixed budget.
func TestSpam_TenThousandJunkBlobsAtOneHeight(t *testing.T) {
	for name := range spams(newEnv(), newEnv().chain.Blocks(3, 1)) {
		t.Run(name, func(t *testing.T) {
			few, many := costOf(t, name, 1000), costOf(t, name, 10_000)
			const slack = 13 // maps grow in steps
			require.LessOrEqual(t, many.allocs, slack*few.allocs+1000, "allocations of 1,000 and of 10,000")
			require.LessOrEqual(t, many.bytes, slack*few.bytes+1<<20)
			require.LessOrEqual(t, many.reads, slack*few.reads+10)
			require.LessOrEqual(t, many.allocs, uint64(10_000*100))
			require.LessOrEqual(t, many.bytes, uint64(10_000*8<<10))
			require.LessOrEqual(t, many.reads, 10_000*2)
			t.Logf("each: %.1f allocations, %d bytes, %.2f reads of stores; held: %d bytes",
				float64(many.allocs)/10_000, many.bytes/10_000, float64(many.reads)/10_000, many.held)
		})
	}
}

// BenchmarkSpam is what one blob costs, by kind.
func BenchmarkSpam(b *testing.B) {
	const n = 10_000
	e := newEnv()
	bs := e.chain.Blocks(3, 1)
	for name, s := range spams(e, bs) {
		blobs := make([]da.Blob, n)
		for i := range blobs {
			blobs[i] = s.make(i)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e := newEnv()
				e.params.Genesis = e.chain.Genesis
				r := newReader(New(e.params))
				if err := r.hand(b.Context(), []*found{r.asm.rules.classify(1, blobs, e.params.Now())}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/blob")
		})
	}
}

// passes puts spam at DA height 2 between two blocks and requires that nothing of
// it counts.
func passes(t *testing.T, blobs func(e *env, bs []block.Block) []da.Blob) (s Status) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(2, 2)
		e.da.put(1, e.header(bs[0]), e.body(bs[0]))
		e.da.put(2, blobs(e, bs)...)
		e.da.put(3, e.header(bs[1]), e.body(bs[1]))
		w, stop := e.run(t)
		e.requireAll(t, bs)
		require.Equal(t, uint64(3), e.sink.where(2, block.KindHeader, bs[1].Header.Digest()))
		require.Equal(t, uint64(3), e.sink.where(2, block.KindData, bs[1].Data.Commitment()))
		require.Equal(t, uint64(4), e.sink.at())
		s = w.Status()
		require.Zero(t, s.Pending.Bytes)
		require.NoError(t, stop())
	})
	return s
}

func TestSpam_BlobsOverTheLimit(t *testing.T) {
	s := passes(t, func(e *env, bs []block.Block) []da.Blob {
		big := block.NewData(bs[1].Data.Metadata, [][]byte{make([]byte, block.MaxBlobBytes)})
		return []da.Blob{blob(dataNS(), testutil.DataBlob(e.chain.Key, big)), blob(headerNS(), make([]byte, block.MaxBlobBytes+1))}
	})
	require.Equal(t, uint64(2), s.Stats.JunkByReason["size"])
}

// Every prefix of a good header and of good data.
func TestSpam_TruncatedProtobuf(t *testing.T) {
	s := passes(t, func(e *env, bs []block.Block) (out []da.Blob) {
		for _, whole := range []da.Blob{e.header(bs[1]), e.body(bs[1])} {
			for n := range len(whole.Data) {
				out = append(out, blob(whole.Namespace, whole.Data[:n]))
			}
		}
		return out
	})
	require.Greater(t, s.Stats.Junk, uint64(400))
}

// The proposer's own header and data, each in the namespace of the other: nodes
// that read one namespace only would not see them.
func TestSpam_WrongNamespace(t *testing.T) {
	s := passes(t, func(e *env, bs []block.Block) []da.Blob {
		return []da.Blob{blob(dataNS(), e.header(bs[1]).Data), blob(headerNS(), e.body(bs[1]).Data)}
	})
	require.Equal(t, map[string]uint64{"namespace": 2}, s.Stats.JunkByReason)
}

// Data the header does not commit to, signed by the proposer itself.
func TestSpam_WrongCommitment(t *testing.T) {
	passes(t, func(e *env, bs []block.Block) []da.Blob {
		wrong := block.NewData(bs[1].Data.Metadata, [][]byte{[]byte("other")})
		return []da.Blob{blob(dataNS(), testutil.DataBlob(e.chain.Key, wrong))}
	})
}

// A stranger's envelope around the proposer's header does not say where it lies.
func TestT2_SelfSignedEnvelope(t *testing.T) {
	s := passes(t, func(_ *env, bs []block.Block) []da.Blob {
		return []da.Blob{blob(headerNS(), testutil.Envelope(testutil.Key("stranger"), bs[1].Header))}
	})
	require.Equal(t, map[string]uint64{"signature": 1}, s.Stats.JunkByReason)
}

// T2: strangers' headers for a height, blobs of other chains and forgeries are
// never reported, so nothing can become final by them.
func TestT2_StrangersBlobsAreNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(3, 1)
		require.NoError(t, e.headers.put(testutil.Headers(bs)...))
		require.NoError(t, e.data.put(testutil.DataOf(bs)...))
		for name, s := range spams(e, bs) {
			if name != "replayed headers" { // that one is the proposer's, and true
				e.da.put(1, s.make(0))
			}
		}
		_, stop := e.run(t)
		require.Equal(t, uint64(2), e.sink.at())
		e.sink.mu.Lock()
		require.Empty(t, e.sink.seen)
		e.sink.mu.Unlock()
		require.NoError(t, stop())
	})
}

// A DA that lies about a commitment stops the cursor at that height, says so, and
// is read on once it tells the truth.
func TestSpam_ADishonestDAStopsTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(4, 1)
		e.postEach(bs)
		e.da.fail = func(h uint64) error {
			if h == 3 {
				return fmt.Errorf("read: %w", da.ErrDishonest)
			}
			return nil
		}
		w, stop := e.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		s := w.Status()
		require.Equal(t, uint64(3), e.sink.at())
		require.Equal(t, PhaseFailing, s.Phase)
		require.Contains(t, s.LastErr, "not to be believed")
		e.da.set(func() { e.da.fail = nil })
		e.ends(t, time.Minute, bs, stop)
	})
}

// T12: catching up is not one height per two round trips.
func TestT12_DACatchUpIsNotBoundByLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(3000, 0)
		for i, b := range bs {
			e.da.put(uint64(i+1), e.header(b))
		}
		e.da.latency = func(uint64) time.Duration { return 100 * time.Millisecond }
		_, stop := e.run(t)
		time.Sleep(10 * time.Second) // one at a time it would take ten minutes
		synctest.Wait()
		require.Equal(t, uint64(3000), e.headers.Height())
		require.NoError(t, stop())
	})
}
