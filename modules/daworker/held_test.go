package daworker

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/testutil"
)

// shapes are blobs that take as much or as little memory for their bytes as can be:
// the i-th of a kind, its signatures not yet checked.
func shapes(e *env) map[string]func(i int) da.Blob {
	first := e.chain.Next([]byte("tx")).Header
	signature := make([]byte, 64)
	pad := func(b []byte, n int) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, 15, protowire.BytesType), make([]byte, n))
	}
	head := func(i int) []byte {
		h := first.Header
		h.Height += uint64(i)
		signed := block.NewSignedHeader(h, signature, first.Signer)
		return block.HeaderEnvelope{Header: signed, Signature: signature}.Encode()
	}
	body := func(i int, txs ...[]byte) []byte {
		txs[0] = binary.BigEndian.AppendUint32(txs[0], uint32(i))
		d := block.NewData(&block.Metadata{ChainID: e.chain.Genesis.ChainID, Height: uint64(i + 1), Time: 1}, txs)
		return block.SignedData{Data: d, Signature: signature, Signer: first.Signer}.Encode()
	}
	return map[string]func(i int) da.Blob{
		"headers":               func(i int) da.Blob { return blob(headerNS(), head(i)) },
		"padded headers":        func(i int) da.Blob { return blob(headerNS(), pad(head(i), 4<<10)) },
		"smallest data":         func(i int) da.Blob { return blob(dataNS(), body(i, nil)) },
		"padded data":           func(i int) da.Blob { return blob(dataNS(), pad(body(i, nil), 4<<10)) },
		"empty transactions":    func(i int) da.Blob { return blob(dataNS(), body(i, make([][]byte, 1000)...)) },
		"data of a megabyte":    func(i int) da.Blob { return blob(dataNS(), body(i, make([]byte, 1<<20))) },
		"garbage of a kilobyte": func(int) da.Blob { return blob(dataNS(), make([]byte, 1<<10)) },
	}
}

// shelf is a place where items wait, and its figure.
type shelf struct {
	put  func(f *found) (full bool)
	size func() int
	held any
}

// shelves returns all places, each bounded by as many bytes.
func shelves(bound int) map[string]shelf {
	var ahead []*found
	read := 0
	kept := newPending(bound)
	unsure := newQuarantine(bound)
	return map[string]shelf{
		"prefetch": {
			put: func(f *found) bool {
				ahead = append(ahead, f)
				read += f.cost()
				return read > bound-f.cost()
			},
			size: func() int { return read },
			held: &ahead,
		},
		"pending": {
			put: func(f *found) bool {
				for _, h := range f.headers {
					kept.addHeader(h, true)
				}
				for _, d := range f.data {
					d.signed = block.SignedData{} // its signature is good
					kept.addData(d, true)
				}
				return kept.dropped > 0
			},
			size: func() int { return kept.bytes },
			held: kept,
		},
		"quarantine": {
			put: func(f *found) bool {
				for _, d := range f.data {
					unsure.addData(d)
				}
				return unsure.evicted > 0
			},
			size: func() int { return unsure.bytes },
			held: unsure,
		},
	}
}

// TestFloodsStayWithinTheirFigures: whatever DA is full of, what waits takes the
// memory the figures say, and the figures stay within their bounds.
func TestFloodsStayWithinTheirFigures(t *testing.T) {
	const bound = 8 << 20
	e := newEnv()
	r := e.rules()
	for name, shape := range shapes(e) {
		for place := range shelves(bound) {
			t.Run(name+" in "+place, func(t *testing.T) {
				s := shelves(bound)[place]
				if f := r.classify(1, []da.Blob{shape(0)}, e.params.Now()); place != "prefetch" && len(f.headers)+len(f.data) == 0 ||
					place == "quarantine" && len(f.data) == 0 {
					t.Skip("is not kept there")
				}
				most := 0
				live := testutil.Live(func() any {
					for i := 0; !s.put(r.classify(uint64(i+1), []da.Blob{shape(i)}, e.params.Now())); i++ {
						most = max(most, s.size())
					}
					return s.held
				})
				testutil.CheckFigure(t, place, live, s.size())
				testutil.CheckFigure(t, place+", to its bound", most, bound)
				require.LessOrEqual(t, most, bound)
			})
		}
	}
}

// TestCountsTakeWhatTheySay: what is bounded by number takes the bytes per item that
// docs/limits.md names.
func TestCountsTakeWhatTheySay(t *testing.T) {
	t.Run("wanted", func(t *testing.T) {
		live := testutil.Live(func() any {
			w := newWanted()
			for i := range uint64(maxWanted) {
				w.add(i, block.Sum(binary.BigEndian.AppendUint64(nil, i)), i)
			}
			return w
		})
		testutil.CheckFigure(t, "wanted", live, maxWanted*wantedBytes)
	})
	t.Run("hints", func(t *testing.T) {
		live := testutil.Live(func() any {
			w := New(newEnv().params)
			for i := range uint64(2 * maxHints) {
				from := string(binary.BigEndian.AppendUint64(make([]byte, 30), i)) // as long as a peer's id
				w.Hint(Hint{Height: i + 1, Header: block.Sum([]byte(from)), DAHeight: 1, From: from})
			}
			require.Equal(t, maxHints, w.hints.count())
			return &w.hints.byHeight
		})
		testutil.CheckFigure(t, "hints", live, maxHints*hintSize)
	})
}
