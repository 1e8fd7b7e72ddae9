package da

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// FuzzAnswers feeds the decoders what an endpoint may send: nothing panics, and
// what is handed over is what was asked for.
func FuzzAnswers(f *testing.F) {
	ns := NamespaceOf("a")
	commitment, err := Commit(ns, []byte("good"))
	require.NoError(f, err)
	good := blobJSON(ns, []byte("good"), commitment[:])
	for _, seed := range []string{
		result("[" + good + "]"), result("null"), result(realHeader), result(localDAHeader), result(numericHeader),
		refusal(1, "blob: not found"), refusal(-32700, "x"), `{"error":{}}`, `{"result":[null]}`,
		`{"result":{"header":{"height":"18446744073709551616"}}}`, `{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1,{"Height":5}]}`,
		`{"jsonrpc":"2.0","method":"xrpc.ch.close","params":[1]}`, `{"result":"12"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &Celestia{cfg: Default()}
		decodeEvent(newScanner(bytes.NewReader(raw), maxEventBytes))
		in := newScanner(bytes.NewReader(raw), int64(len(raw)+1))
		wire := readAnswer(in, in.header).result
		if h, err := wire.head(); err == nil && !wire.top.told && !wire.inner.told {
			t.Fatal("header without a height", h)
		}
		room := &portion{of: newAllowance(1 << 20), most: 1 << 20, ctx: t.Context(), patience: time.Second}
		defer room.release()
		r := &reply{scanner: newScanner(iotest.OneByteReader(bytes.NewReader(raw)), int64(len(raw)+1)), room: room}
		ans := readAnswer(r.scanner, func() blobList { return c.blobs(r, []Namespace{ns}) })
		for _, b := range ans.result.blobs {
			if b.Namespace != ns || len(b.Data) == 0 {
				t.Fatal("handed over what was not asked for")
			}
		}
		if ans.err != nil {
			_ = newRPCError("x", ans.err.code, ans.err.message, true).Error()
		}
	})
}

// FuzzScanner: what the scanner takes as a value is what encoding/json takes,
// but for numbers and words, which it does not check where they are skipped.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":null}],"c":"\u0041\ud83d\ude00\n"}`, `[[[]]]`, `{}`, `[{},{}]`, `"x`, `[1,]`, `{"a"}`, `{"a":1,}`, `]`, `[}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, src := range []io.Reader{bytes.NewReader(raw), iotest.OneByteReader(bytes.NewReader(raw))} {
			s := newScanner(src, int64(len(raw)+1))
			s.skip()
			s.end()
			if json.Valid(raw) && s.err != nil && bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) <= maxDepth {
				t.Fatalf("refuses %q: %v", raw, s.err)
			}
		}
		var want string
		if json.Unmarshal(raw, &want) == nil {
			s := newScanner(bytes.NewReader(raw), int64(len(raw)+1))
			if got := s.text(len(raw) + 1); got != want && utf8.Valid(raw) {
				t.Fatalf("reads %q as %q, want %q", raw, got, want)
			}
		}
	})
}

// TestBlobsRoundTrip: what is submitted is read back, through both encoders.
func TestBlobsRoundTrip(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, _ := startServer(t, cfg)
	n, err := s.opened()
	require.NoError(t, err)
	c, ctx := newTestClient(t, testConfig(s.URL())), t.Context()
	rapid.Check(t, func(t *rapid.T) {
		ns := NamespaceOf(rapid.String().Draw(t, "name"))
		data := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 2000), 1, 5).Draw(t, "blobs")
		var in []*ledgerBlob
		for _, d := range data {
			commitment, err := Commit(ns, d)
			require.NoError(t, err)
			in = append(in, &ledgerBlob{Blob: Blob{Namespace: ns, Data: bytes.Clone(d), Commitment: commitment}})
		}
		tx, err := newTx(in, submitOptions{})
		require.NoError(t, err)
		require.NoError(t, n.submit(tx))
		height, err := s.Produce()
		require.NoError(t, err)
		for _, client := range []Client{c, s.Client()} {
			got, err := client.Blobs(ctx, height, ns)
			require.NoError(t, err)
			require.Len(t, got, len(data))
			for i := range got {
				require.Equal(t, data[i], got[i].Data)
				require.Equal(t, in[i].Commitment, got[i].Commitment)
			}
		}
	})
	require.Zero(t, c.Stats().Forged)
}

func BenchmarkBlobs(b *testing.B) {
	ns := NamespaceOf("a")
	for name, list := range map[string][][]byte{
		"none": nil, "small": {pattern(400)}, "64 headers": slices.Collect(slices.Chunk(pattern(64*400), 400)), "5MiB": {pattern(5 << 20)},
	} {
		b.Run(name, func(b *testing.B) {
			var wire []json.RawMessage
			for _, d := range list {
				commitment, err := Commit(ns, d)
				require.NoError(b, err)
				wire = append(wire, json.RawMessage(blobJSON(ns, d, commitment[:])))
			}
			raw, err := json.Marshal(wire)
			require.NoError(b, err)
			body := []byte(result(string(raw)))
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
			defer srv.Close()
			c, err := NewCelestia(srv.URL, testConfig(srv.URL))
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				got, err := c.Blobs(b.Context(), 5, ns)
				if err != nil || len(got) != len(list) {
					b.Fatal(len(got), err)
				}
			}
			c.Close()
		})
	}
}

func BenchmarkProduce(b *testing.B) {
	l, err := openLedger(b.TempDir(), 1)
	require.NoError(b, err)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(1)
		if _, err := l.produce(now); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, l.close())
}
