package daworker

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

func signed(key ed25519.PrivateKey, d *block.Data) block.SignedData {
	return block.SignedData{
		Data: d, Signature: ed25519.Sign(key, d.Encode()), Signer: block.NewSigner(key.Public().(ed25519.PublicKey)),
	}
}

// A stranger posts other transactions for the height, the right transactions
// with a broken signature, and a copy under another key, all before the real one.
func TestT5_DataSquatting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		stranger := testutil.Key("stranger")
		bs := e.chain.Blocks(3, 2)
		squat := block.NewData(bs[1].Data.Metadata, [][]byte{[]byte("mine")})
		broken := signed(stranger, bs[1].Data)
		broken.Signature = make([]byte, 64)
		e.da.put(1, e.header(bs[0]), e.body(bs[0]))
		e.da.put(2, blob(dataNS(), testutil.DataBlob(stranger, squat)), blob(dataNS(), broken.Encode()))
		e.da.put(3, e.header(bs[1]))
		w, stop := e.run(t)
		require.Equal(t, uint64(1), e.data.Height())
		require.Equal(t, "data of 2, header seen at DA 3", w.Status().WaitingFor)
		e.da.put(4, e.body(bs[1]), e.header(bs[2]), e.body(bs[2]))
		time.Sleep(7 * time.Second)
		synctest.Wait()
		e.requireAll(t, bs)
		require.Equal(t, uint64(4), e.sink.where(2, block.KindData, bs[1].Data.Commitment()))
		require.Zero(t, e.sink.where(2, block.KindData, squat.Commitment()))
		require.NoError(t, stop())
	})
}

// Whoever posts the committed transactions, under whatever metadata: they count,
// and what is stored is rebuilt from the header.
func TestT5_CommitmentDecidesNotMetadataNorSigner(t *testing.T) {
	for _, before := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			bs := e.chain.Blocks(2, 2)
			m := *bs[1].Data.Metadata
			m.Height, m.Time, m.LastDataHash = 77, 1, []byte("nonsense")
			wrong := blob(dataNS(), testutil.DataBlob(testutil.Key("stranger"), block.NewData(&m, bs[1].Data.Txs)))
			blobs := []da.Blob{e.header(bs[1]), wrong}
			if before {
				slices.Reverse(blobs)
			}
			e.da.put(1, e.header(bs[0]), e.body(bs[0]))
			e.da.put(2, blobs[0])
			e.da.put(3, blobs[1])
			_, stop := e.run(t)
			e.requireAll(t, bs)
			require.NoError(t, stop())
		})
	}
}

// One DA height holds a whole block and half of another: the cursor stays until
// the other half is there, also across a restart.
func TestT6_PartialPair(t *testing.T) {
	for _, half := range []string{"header", "data"} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			bs := e.chain.Blocks(2, 1)
			first, second := e.header(bs[1]), e.body(bs[1])
			if half == "data" {
				first, second = second, first
			}
			e.da.put(10, e.header(bs[0]), e.body(bs[0]), first)
			e.da.put(15)
			w, stop := e.run(t)
			if half == "data" {
				require.Equal(t, uint64(10), e.sink.at(), "holds until the header is known")
			}
			require.Equal(t, uint64(16), w.Status().Cursor)
			require.NoError(t, stop())
			e.da.put(16, second)
			_, stop = e.run(t)
			e.requireAll(t, bs)
			require.Equal(t, uint64(17), e.sink.at())
			require.NoError(t, stop())
		})
	}
}

func TestOrderSplitDuplication(t *testing.T) {
	place := map[string]func(e *env, bs []block.Block){
		"header first, ten heights apart": func(e *env, bs []block.Block) {
			for i, b := range bs {
				e.da.put(uint64(i+1), e.header(b))
				e.da.put(uint64(i+11), e.body(b))
			}
		},
		"data first, ten heights apart": func(e *env, bs []block.Block) {
			for i, b := range bs {
				e.da.put(uint64(i+1), e.body(b))
				e.da.put(uint64(i+11), e.header(b))
			}
		},
		"ten blocks in one height, backwards": func(e *env, bs []block.Block) {
			for _, b := range slices.Backward(bs) {
				e.da.put(1, e.body(b), e.header(b))
			}
		},
		"one block per height, backwards": func(e *env, bs []block.Block) {
			for i, b := range slices.Backward(bs) {
				e.da.put(uint64(len(bs)-i), e.header(b), e.body(b))
			}
		},
		"everything twice": func(e *env, bs []block.Block) {
			for i, b := range bs {
				e.da.put(uint64(i+1), e.header(b), e.header(b), e.body(b), e.body(b))
				e.da.put(uint64(i+3), e.header(b), e.body(b))
			}
		},
	}
	for name, put := range place {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv()
				bs := e.chain.Blocks(10, 1)
				put(e, bs)
				w, stop := e.run(t)
				e.requireAll(t, bs)
				require.Equal(t, w.Status().Cursor, e.sink.at(), "nothing holds the cursor")
				require.Zero(t, w.Status().Pending.Bytes)
				require.NoError(t, stop())
			})
		})
	}
}

// Blocks with the same transactions have the same commitment.
func TestSameTransactionsInManyBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		var bs []block.Block
		for range 8 {
			bs = append(bs, e.chain.Next([]byte("tick")))
		}
		e.da.put(1, e.body(bs[6]))
		e.da.put(2, e.header(bs[4]))
		e.da.put(3, e.header(bs[6]), e.header(bs[0]))
		e.da.put(4, e.body(bs[4]), e.body(bs[0]))
		for i, b := range bs {
			e.da.put(uint64(10+2*i), e.body(b))
			e.da.put(uint64(11+2*i), e.header(b))
		}
		w, stop := e.run(t)
		e.requireAll(t, bs)
		require.Equal(t, w.Status().Cursor, e.sink.at())
		require.NoError(t, stop())
	})
}

func TestRandomPlacementAndCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(rt, "blocks")
		heights := uint64(rapid.IntRange(1, 20).Draw(rt, "da heights"))
		at := rapid.SliceOfN(rapid.Uint64Range(1, heights), 2*n, 2*n).Draw(rt, "placement")
		twice := rapid.SliceOfN(rapid.Bool(), 2*n, 2*n).Draw(rt, "twice")
		txs := rapid.SliceOfN(rapid.IntRange(0, 3), n, n).Draw(rt, "txs")
		p2p := rapid.IntRange(0, n).Draw(rt, "headers by p2p")
		crashes := rapid.SliceOfN(rapid.IntRange(1, 12), 0, 4).Draw(rt, "crashes")
		after := rapid.Bool().Draw(rt, "after effect")
		latency := rapid.SliceOfN(rapid.IntRange(0, 50), int(heights)+1, int(heights)+1).Draw(rt, "latency")
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			e.da.latency = func(h uint64) time.Duration { return time.Duration(latency[h]) * time.Millisecond }
			var bs []block.Block
			for i := range n {
				var list [][]byte
				for range txs[i] {
					list = append(list, []byte("same"))
				}
				b := e.chain.Next(list...)
				bs = append(bs, b)
				for j, x := range []da.Blob{e.header(b), e.body(b)} {
					if j == 1 && txs[i] == 0 {
						continue
					}
					e.da.put(at[2*i+j], x)
					if twice[2*i+j] {
						e.da.put(1+at[2*i+j]%heights, x)
					}
				}
			}
			e.da.put(heights)
			require.NoError(rt, e.headers.put(testutil.Headers(bs[:p2p])...))
			for _, c := range crashes {
				e.crash(c, after)
				_, stop := e.run(t)
				time.Sleep(time.Second)
				synctest.Wait()
				require.NoError(rt, stop())
			}
			e.crash(0, false)
			_, stop := e.run(t)
			time.Sleep(time.Minute)
			synctest.Wait()
			e.requireAll(rt, bs)
			require.Equal(rt, heights+1, e.sink.at())
			require.NoError(rt, stop())
		})
	})
}

// A node that dies at any append or report, before or after its effect, misses
// nothing after the restart.
func TestCrashAtEveryCall(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			done := false
			synctest.Test(t, func(t *testing.T) {
				e := newEnv()
				e.params.Config.InFlight, e.params.Config.MaxInFlight = 1, 1
				bs := e.chain.Blocks(12, 1)
				for i, b := range bs { // halves apart, in both orders
					shift := uint64(3 * (i % 3))
					e.da.put(uint64(i+1)+shift, e.header(b))
					e.da.put(uint64(i+7)-shift, e.body(b))
				}
				e.da.latency = func(uint64) time.Duration { return time.Millisecond }
				f := e.crash(at, after)
				_, stop := e.run(t)
				time.Sleep(time.Second)
				synctest.Wait()
				require.NoError(t, stop())
				done = !f.dead
				e.crash(0, false)
				_, stop = e.run(t)
				time.Sleep(time.Second)
				synctest.Wait()
				e.requireAll(t, bs)
				require.NoError(t, stop())
			})
			if done {
				require.Greater(t, at, 20, "the faults were hit")
				break
			}
		}
	}
}

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
		out = append(out, blob(headerNS(), b))
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

func TestP2PIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := e.chain.Blocks(20, 1)
		require.NoError(t, e.headers.put(testutil.Headers(bs)...))
		require.NoError(t, e.data.put(testutil.DataOf(bs)...))
		appends := e.headers.appends + e.data.appends
		for i, b := range bs {
			e.da.put(uint64(i/3+1), e.body(b))
			e.da.put(uint64(i/2+1), e.header(b))
		}
		w, stop := e.run(t)
		e.requireAll(t, bs)
		require.Equal(t, appends, e.headers.appends+e.data.appends)
		require.Equal(t, w.Status().Cursor, e.sink.at())
		require.NoError(t, stop())
	})
}

// Data read from DA waits in memory until its header comes over P2P, also while
// DA is away.
func TestHeaderComesOverP2P(t *testing.T) {
	for _, outage := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			bs := e.chain.Blocks(5, 1)
			for i, b := range bs {
				e.da.put(uint64(i+1), e.body(b))
			}
			w, stop := e.run(t)
			require.LessOrEqual(t, e.sink.at(), uint64(1))
			if outage {
				e.da.set(func() {
					e.da.head, e.da.fail = 9, func(h uint64) error {
						if h > 0 {
							return da.ErrUnavailable
						}
						return nil
					}
				})
				time.Sleep(10 * time.Second)
			}
			require.NoError(t, e.headers.put(testutil.Headers(bs)...))
			w.Wake()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.Equal(t, uint64(5), e.data.Height())
			for _, b := range bs {
				require.NotZero(t, e.sink.where(b.Height(), block.KindData, b.Data.Commitment()))
			}
			require.Equal(t, uint64(6), e.sink.at())
			require.NoError(t, stop())
		})
	}
}

// P2P and DA tell different stories: DA's is reported, nothing stored is
// replaced, and after a rollback DA's is what is appended.
func TestT1_ConflictIsReportedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		common := e.chain.Blocks(2, 1)
		fork := e.chain.Fork()
		theirs := []block.Block{fork.Next([]byte("p2p")), fork.Next([]byte("p2p too"))}
		ours := e.chain.Blocks(3, 1)
		require.NoError(t, e.headers.put(testutil.Headers(append(slices.Clone(common), theirs...))...))
		require.NoError(t, e.data.put(testutil.DataOf(append(slices.Clone(common), theirs...))...))
		all := append(slices.Clone(common), ours...)
		for i, b := range all {
			e.da.put(uint64(i+1), e.header(b), e.body(b))
		}
		w, stop := e.run(t)
		require.Equal(t, theirs[1].Header.Digest(), e.headers.items[4].Digest())
		require.NotZero(t, e.sink.where(3, block.KindHeader, ours[0].Header.Digest()))
		require.NotZero(t, w.Status().Stats.Conflicts)
		require.Contains(t, w.Status().WaitingFor, "does not follow")
		e.headers.truncate(2)
		e.data.truncate(2)
		w.Wake()
		synctest.Wait()
		e.requireAll(t, all)
		w.Rewind(1)
		synctest.Wait()
		e.requireAll(t, all)
		require.Equal(t, uint64(6), e.sink.at())
		require.NoError(t, stop())
	})
}

// Our clock is late: an honest header looks as if from the future. It waits, it
// is not junk.
func TestLateClockLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		start := time.Now()
		e.params.Now = func() time.Time { return e.chain.Genesis.StartTime.Add(time.Since(start) - time.Hour) }
		bs := e.chain.Blocks(3, 1)
		e.da.put(1, e.header(bs[0]), e.body(bs[0]), e.header(bs[1]), e.body(bs[1]), e.header(bs[2]), e.body(bs[2]))
		w, stop := e.run(t)
		require.Zero(t, e.headers.Height())
		require.Equal(t, uint64(1), e.sink.at())
		require.Contains(t, w.Status().WaitingFor, "the time of header 1")
		time.Sleep(time.Hour)
		synctest.Wait()
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}

// The proposer of later heights becomes known only as blocks are applied.
func TestUnknownProposerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		e.params.Proposers = proposers(func(height uint64) []byte {
			if height > e.data.Height()+1 {
				return nil
			}
			return e.chain.Genesis.ProposerAddress
		})
		bs := e.chain.Blocks(6, 1)
		for i, b := range bs {
			e.da.put(uint64(i+1), e.header(b), e.body(b))
		}
		w, stop := e.run(t)
		for range bs {
			w.Wake()
			synctest.Wait()
		}
		e.requireAll(t, bs)
		require.NoError(t, stop())
	})
}

func TestBareHeadersUntilAnEnvelopeWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs := []block.Block{e.chain.Next(), e.chain.Next(), e.chain.Next()}
		bare := func(b block.Block) da.Blob { return blob(headerNS(), b.Header.Encode()) }
		forged := block.HeaderEnvelope{Header: bs[0].Header, Signature: make([]byte, 64)}.Encode()
		e.da.put(1, blob(headerNS(), forged))
		e.da.put(2, bare(bs[0]))
		e.da.put(3, e.header(bs[1]))
		e.da.put(4, bare(bs[2]))
		w, stop := e.run(t)
		require.Equal(t, uint64(2), e.headers.Height())
		require.Equal(t, uint64(2), e.sink.where(1, block.KindHeader, bs[0].Header.Digest()))
		require.Equal(t, uint64(1), w.Status().Stats.JunkByReason["envelope"])
		require.Equal(t, uint64(1), w.Status().Stats.JunkByReason["signature"])
		require.NoError(t, stop())
	})
}
