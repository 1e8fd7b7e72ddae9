package execution

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tandem-node/tandem/testutil"
)

func TestMempoolBounds(t *testing.T) {
	m := NewMempool(MempoolConfig{MaxBytes: 3*txOverhead + 10, MaxTxs: 3, MaxTxBytes: 6})
	require.ErrorIs(t, m.Add(nil), ErrEmptyTx)
	require.ErrorIs(t, m.Add([]byte("1234567")), ErrTxTooLarge)
	require.NoError(t, m.Add([]byte("123456")))
	require.NoError(t, m.Add([]byte("a")))
	require.ErrorIs(t, m.Add([]byte("12345")), ErrMempoolFull, "bytes")
	require.ErrorIs(t, m.Add([]byte("a")), ErrDuplicateTx)
	require.NoError(t, m.Add([]byte("b")))
	require.ErrorIs(t, m.Add([]byte("c")), ErrMempoolFull, "number")

	txs, dropped := m.Take(6)
	require.Equal(t, [][]byte{[]byte("123456")}, txs)
	require.Zero(t, dropped)
	n, size := m.Len()
	require.Equal(t, []int{2, 2 + 2*txOverhead}, []int{n, size})
	require.NoError(t, m.Add([]byte("123456")), "no duplicate once it was taken")
	txs, dropped = m.Take(5)
	require.Equal(t, [][]byte{[]byte("a"), []byte("b")}, txs)
	require.Equal(t, 1, dropped, "it can never fit")
	n, size = m.Len()
	require.Equal(t, []int{0, 0}, []int{n, size})
}

func TestMempoolWakes(t *testing.T) {
	m := NewMempool(Default().Mempool)
	waiting := func() bool {
		select {
		case <-m.Available():
			return true
		default:
			return false
		}
	}
	require.False(t, waiting())
	require.NoError(t, m.Add([]byte("one")))
	require.NoError(t, m.Add([]byte("two")))
	require.True(t, waiting())
	require.False(t, waiting(), "one value at a time")
	_, _ = m.Take(3)
	require.True(t, waiting(), "something is left")
	_, _ = m.Take(3)
	require.False(t, waiting())
}

func TestMempoolAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := MempoolConfig{MaxBytes: 6*txOverhead + 30, MaxTxs: 8, MaxTxBytes: 9}
		m := NewMempool(cfg)
		var model [][]byte
		size := func() (n int) {
			for _, tx := range model {
				n += heldTx(tx)
			}
			return n
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				tx := rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 10).Draw(rt, "tx")
				dup := false
				for _, q := range model {
					dup = dup || bytes.Equal(q, tx)
				}
				ok := len(tx) > 0 && len(tx) <= cfg.MaxTxBytes && !dup && len(model) < cfg.MaxTxs && size()+heldTx(tx) <= cfg.MaxBytes
				require.Equal(rt, ok, m.Add(tx) == nil)
				if ok {
					model = append(model, tx)
				}
			},
			"take": func(rt *rapid.T) {
				limit := rapid.IntRange(-1, 35).Draw(rt, "max")
				var want [][]byte
				for room := limit; limit > 0 && len(model) > 0; model = model[1:] {
					if len(model[0]) > limit {
						continue
					}
					if room -= len(model[0]); room < 0 {
						break
					}
					want = append(want, model[0])
				}
				have, _ := m.Take(limit)
				require.Equal(rt, want, have)
			},
			"": func(rt *rapid.T) {
				n, bytes := m.Len()
				require.Equal(rt, len(model), n)
				require.Equal(rt, size(), bytes)
			},
		})
	})
}

func TestMempoolConcurrent(t *testing.T) {
	m := NewMempool(Default().Mempool)
	var adders sync.WaitGroup
	const workers, each = 4, 500
	for w := range workers {
		adders.Go(func() {
			for i := range each {
				if err := m.Add(fmt.Appendf(nil, "%d-%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := make(map[string]bool)
	for len(seen) < workers*each { // no polling: a value is there while transactions wait
		<-m.Available()
		txs, _ := m.Take(100)
		for _, tx := range txs {
			require.False(t, seen[string(tx)])
			seen[string(tx)] = true
		}
	}
	adders.Wait()
}

func BenchmarkMempool(b *testing.B) {
	m := NewMempool(Default().Mempool)
	tx := bytes.Repeat([]byte("x"), 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tx[0], tx[1], tx[2] = byte(i), byte(i>>8), byte(i>>16)
		if err := m.Add(tx); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			if txs, _ := m.Take(1 << 30); len(txs) != 1000 {
				b.Fatal(len(txs))
			}
		}
	}
}

// What fits no block now is refused at the door, and taken again once it fits.
func TestMempoolFollowsTheLimit(t *testing.T) {
	m := NewMempool(MempoolConfig{MaxBytes: 1 << 20, MaxTxs: 10, MaxTxBytes: 100})
	most := 0
	m.Limit(func() int { return most })
	require.NoError(t, m.Add(bytes.Repeat([]byte{'a'}, 100)))
	most = 50
	require.ErrorIs(t, m.Add(bytes.Repeat([]byte{'b'}, 51)), ErrTxTooLarge)
	require.ErrorContains(t, m.Add(bytes.Repeat([]byte{'b'}, 51)), "at most 50")
	require.NoError(t, m.Add(bytes.Repeat([]byte{'b'}, 50)))
	most = 500
	require.ErrorIs(t, m.Add(bytes.Repeat([]byte{'c'}, 101)), ErrTxTooLarge, "its own bound holds as well")
	require.NoError(t, m.Add(bytes.Repeat([]byte{'c'}, 100)))
}

// TestMempoolFloodStaysWithinItsFigure: a flood of transactions of any size is refused
// at the bound, and takes the memory the mempool says, also while blocks take some.
func TestMempoolFloodStaysWithinItsFigure(t *testing.T) {
	for name, size := range map[string]int{"smallest": 4, "odd": 100, "usual": 1 << 10, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			m := NewMempool(MempoolConfig{MaxBytes: 8 << 20, MaxTxs: 1 << 20, MaxTxBytes: 1 << 20})
			next := uint32(0)
			flood := func() {
				for {
					tx := make([]byte, size)
					binary.BigEndian.PutUint32(tx, next)
					next++
					if err := m.Add(tx); err != nil {
						require.ErrorIs(t, err, ErrMempoolFull)
						return
					}
				}
			}
			live := testutil.Live(func() any {
				flood()
				for range 8 {
					n, _ := m.Len()
					_, _ = m.Take(max(n/5, 1) * size)
					flood()
				}
				return m
			})
			_, held := m.Len()
			require.LessOrEqual(t, held, 8<<20)
			testutil.CheckFigure(t, "mempool", live, held)
			testutil.CheckFigure(t, "mempool, to its bound", held, 8<<20)
		})
	}
}
