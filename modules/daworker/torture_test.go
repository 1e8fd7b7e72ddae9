package daworker

import (
	"crypto/ed25519"
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
		again := block.NewData(bs[1].Data.Metadata, [][]byte{[]byte("mine, after its header")})
		e.da.put(4, blob(dataNS(), testutil.DataBlob(stranger, again)), e.body(bs[1]), e.header(bs[2]), e.body(bs[2]))
		time.Sleep(7 * time.Second)
		synctest.Wait()
		e.requireAll(t, bs)
		require.Equal(t, uint64(4), e.sink.where(2, block.KindData, bs[1].Data.Commitment()))
		require.Zero(t, e.sink.where(2, block.KindData, squat.Commitment()))
		require.Zero(t, e.sink.where(2, block.KindData, again.Commitment()))
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
		hints := rapid.SliceOfN(rapid.Uint64Range(0, heights+9), n, n).Draw(rt, "hints")
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
			w, stop := e.run(t)
			for i, b := range bs { // right or wrong, they change nothing but the order
				w.Hint(hintTo(b, hints[i], "peer"))
			}
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
				e.ends(t, time.Second, bs, stop)
			})
			if done {
				require.Greater(t, at, 20, "the faults were hit")
				break
			}
		}
	}
}
