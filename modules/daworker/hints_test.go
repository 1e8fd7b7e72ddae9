package daworker

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

// faraway is a chain whose blocks lie far up on a slow DA layer, and whose
// headers are here already. It returns what Blame hears.
func faraway(e *env, blocks int, first uint64) (bs []block.Block, blamed *[]string) {
	bs = e.chain.Blocks(blocks, 1)
	for i, b := range bs {
		e.da.put(first+uint64(i), e.header(b), e.body(b))
	}
	e.da.latency = func(uint64) time.Duration { return 500 * time.Millisecond }
	e.params.Config.InFlight, e.params.Config.MaxInFlight = 2, 2
	blamed = new([]string)
	e.params.Blame = func(peer string, _ error) { *blamed = append(*blamed, peer) }
	if err := e.headers.put(testutil.Headers(bs)...); err != nil {
		panic(err)
	}
	return bs, blamed
}

func hintTo(b block.Block, at uint64, from string) Hint {
	return Hint{Height: b.Height(), Header: b.Header.Digest(), DAHeight: at, From: from}
}

// Data nobody but DA has is read where peers say that its headers lie, long
// before the scan gets there; only the scan reports it and moves the cursor.
func TestHintsAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs, blamed := faraway(e, 10, 4000)
		w, stop := e.run(t)
		for i, b := range bs {
			w.Hint(hintTo(b, 4000+uint64(i), "honest"))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Equal(t, uint64(10), e.data.Height())
		s := w.Status()
		require.Equal(t, uint64(10), s.Stats.HintsUsed)
		require.Zero(t, s.Pending.Hints)
		require.Less(t, s.Cursor, uint64(1000))
		require.LessOrEqual(t, e.sink.at(), s.Cursor)
		require.Zero(t, e.sink.where(1, block.KindData, bs[0].Data.Commitment()), "the scan has not been there")
		require.Empty(t, *blamed)
		time.Sleep(time.Hour)
		synctest.Wait()
		e.requireAll(t, bs)
		require.Equal(t, uint64(4003), e.sink.where(4, block.KindHeader, bs[3].Header.Digest()))
		require.Equal(t, uint64(4010), e.sink.at())
		require.NoError(t, stop())
	})
}

// A hint gets the chain past a height that is gone from DA.
func TestHintPastAPrunedHeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs, _ := faraway(e, 3, 50)
		e.da.fail = func(h uint64) error {
			if h > 0 && h < 40 {
				return da.ErrPruned
			}
			return nil
		}
		w, stop := e.run(t)
		time.Sleep(time.Minute)
		require.Zero(t, e.data.Height())
		for i, b := range bs {
			w.Hint(hintTo(b, 50+uint64(i), "honest"))
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Equal(t, uint64(3), e.data.Height())
		require.LessOrEqual(t, w.Status().Cursor, uint64(1), "nothing is passed over")
		require.NoError(t, stop())
	})
}

// Header and data lie apart: the data is looked for near its header.
func TestHintFindsDataNearItsHeader(t *testing.T) {
	for _, apart := range []int{-2, -1, 1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv()
			bs, blamed := faraway(e, 1, 4000)
			e.da.set(func() { e.da.heights[4000] = []da.Blob{e.header(bs[0])} })
			e.da.put(uint64(4000+apart), e.body(bs[0]))
			e.da.put(4010)
			w, stop := e.run(t)
			w.Hint(hintTo(bs[0], 4000, "honest"))
			time.Sleep(20 * time.Second)
			synctest.Wait()
			want := uint64(1)
			if apart > hintReach {
				want = 0 // left to the scan
			}
			require.Equal(t, want, e.data.Height(), apart)
			require.Empty(t, *blamed)
			e.ends(t, time.Hour, bs, stop)
		})
	}
}

// E#3128: a hint far ahead starts no catch-up: nothing above the head is asked
// for, the cursor stays, and others are heard.
func TestSpam_HintFarAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs, blamed := faraway(e, 2, 4000)
		w, stop := e.run(t)
		w.Hint(hintTo(bs[0], 1<<40, "liar"))
		w.Hint(hintTo(bs[1], 1<<41, "liar"))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Empty(t, *blamed, "DA may be there one day")
		require.Less(t, slices.Max(e.da.reads()), uint64(1000))
		require.Less(t, w.Status().Cursor, uint64(1000))
		w.Hint(hintTo(bs[0], 4000, "honest"))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, uint64(1), e.data.Height(), "others are heard")
		require.NoError(t, stop())
	})
}

// However many peers lie, wrong hints cost few reads, and the scan goes on.
func TestSpam_WrongHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs, blamed := faraway(e, 3, 4000)
		w, stop := e.run(t)
		begin := w.Status().Cursor
		for i := range 3000 {
			w.Hint(hintTo(bs[0], 3000+uint64(i%900), "liar"+string(rune('a'+i))))
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		above := 0
		for _, h := range e.da.reads() {
			if h >= 3000 {
				above++
			}
		}
		require.Less(t, above, 20, "in ten minutes")
		require.Len(t, *blamed, above)
		require.Greater(t, w.Status().Cursor, begin+1000, "the scan goes on")
		require.NoError(t, stop())
	})
}

// Hints are bounded; the lowest heights are kept, what is stored makes room.
func TestHintsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		w := New(e.params)
		bs := e.chain.Blocks(3*maxHints, 0)
		for _, b := range slices.Backward(bs) {
			w.Hint(hintTo(b, 7, "p"))
		}
		require.Equal(t, maxHints, w.Status().Pending.Hints)
		require.NotEmpty(t, w.hints.of(bs[0].Header))
		require.NoError(t, e.data.put(testutil.DataOf(bs[:2*maxHints])...))
		for _, b := range bs {
			w.Hint(hintTo(b, 7, "p"))
		}
		require.Equal(t, maxHints, w.Status().Pending.Hints)
		require.NotEmpty(t, w.hints.of(bs[3*maxHints-1].Header))
		w.Hint(Hint{Height: 1 << 40, From: "p"})
		require.Equal(t, maxHints, w.Status().Pending.Hints)
	})
}

// What is read by a hint, and again by the scan before its header links, holds
// the cursor as if there had been no hint.
func TestHintedItemsHoldTheCursorOnceScanned(t *testing.T) {
	p := newPending(1 << 20)
	e := newEnv()
	b := e.chain.Next([]byte("tx"))
	h := func(hinted bool, at uint64) *headerItem { return &headerItem{header: b.Header, da: at, hinted: hinted} }
	d := func(hinted bool, at uint64) *dataItem {
		return &dataItem{data: b.Data, height: 1, da: at, hinted: hinted}
	}
	p.addHeader(h(true, 90), false)
	p.addData(d(true, 90), false)
	require.Equal(t, uint64(100), p.floor(100))
	p.addHeader(h(false, 70), true)
	require.Equal(t, uint64(70), p.floor(100))
	p.addData(d(false, 60), true)
	require.Equal(t, uint64(60), p.floor(100))
	require.False(t, p.data[b.Data.Commitment()][0].hinted)
	p.removeData(p.data[b.Data.Commitment()][0])
	p.removeHeader(p.headers[1][0])
	require.Equal(t, uint64(100), p.floor(100))
	require.Zero(t, p.bytes)
}

// What was found by a hint and waits is not reported when the scan reads its
// header: the scan has yet to read the data itself.
func TestHintedDataIsReportedByTheScanOnly(t *testing.T) {
	e := newEnv()
	bs := e.chain.Blocks(2, 1)
	require.NoError(t, e.headers.put(testutil.Headers(bs)...))
	r := newReader(New(e.params))
	look := func(at uint64, blobs ...da.Blob) *found { return r.asm.rules.classify(at, blobs, e.params.Now()) }
	hash := bs[1].Data.Commitment()
	hinted := look(9, e.body(bs[1]))
	verify([]*found{hinted})
	r.asm.addHinted(t.Context(), hinted)
	require.NotZero(t, r.asm.pending.bytes)
	require.NoError(t, r.hand(t.Context(), []*found{look(1, e.header(bs[1]))}))
	require.Zero(t, e.sink.where(2, block.KindData, hash))
	require.NoError(t, r.hand(t.Context(), []*found{look(2, e.header(bs[0]), e.body(bs[0]))}))
	require.Equal(t, uint64(2), e.data.Height(), "it is of use all the same")
	require.Zero(t, e.sink.where(2, block.KindData, hash))
	require.NoError(t, r.hand(t.Context(), []*found{look(9, e.body(bs[1]))}))
	require.Equal(t, uint64(9), e.sink.where(2, block.KindData, hash))
}

// A wrong hint does not keep out the true one, wherever it points: behind the cursor
// it is looked at and costs its sender, above the head it waits. However many peers
// lie above the head, they give way to one that does not.
func TestWrongHintShadowsNone(t *testing.T) {
	for name, lies := range map[string]struct {
		at, peers uint64
		blamed    bool
	}{
		"behind the cursor": {at: 39, peers: 1, blamed: true},
		"above the head":    {at: 60, peers: 1},
		"many above it":     {at: 1 << 40, peers: 3 * hintsPerHeight},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv()
				bs, blamed := faraway(e, 3, 50)
				e.params.Genesis.DAStartHeight = 39
				e.da.fail = func(h uint64) error {
					if h == 40 {
						return da.ErrPruned
					}
					return nil
				}
				w, stop := e.run(t)
				time.Sleep(time.Minute)
				for i, b := range bs {
					for n := range lies.peers {
						w.Hint(hintTo(b, lies.at+n, "liar "+strconv.FormatUint(n, 10)))
					}
					w.Hint(hintTo(b, 50+uint64(i), "honest"))
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Equal(t, uint64(3), e.data.Height())
				require.Equal(t, lies.blamed, len(*blamed) > 0, *blamed)
				require.NotContains(t, *blamed, "honest")
				require.NoError(t, stop())
			})
		})
	}
}

// An endpoint that is behind does not make those liars who point above its head: their
// hints are used when it gets there.
func TestHintsAboveTheHeadWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv()
		bs, blamed := faraway(e, 3, 4000)
		e.da.set(func() { e.da.head = 100 })
		w, stop := e.run(t)
		for i, b := range bs {
			w.Hint(hintTo(b, 4000+uint64(i), "honest"))
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Empty(t, *blamed)
		require.Zero(t, e.data.Height())
		e.da.set(func() { e.da.head = 4010 })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, uint64(3), e.data.Height())
		require.Equal(t, uint64(3), w.Status().Stats.HintsUsed)
		require.Empty(t, *blamed)
		require.NoError(t, stop())
	})
}
