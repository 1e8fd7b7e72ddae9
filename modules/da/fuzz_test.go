package da

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// FuzzAnswers feeds the decoders what an endpoint may send: nothing panics, and
// what is handed over is what was asked for.
func FuzzAnswers(f *testing.F) {
	ns := NamespaceOf("a")
	good := blobJSON(ns, []byte("good"), nil)
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
		decodeEvent(raw)
		var headers answer[wireHeader]
		if json.Unmarshal(raw, &headers) == nil {
			w := &headers.Result
			if _, err := w.head(); err == nil && w.Height == nil && (w.Header == nil || w.Header.Height == nil) {
				t.Fatal("header without a height")
			}
		}
		var blobs answer[[]wireBlob]
		if json.Unmarshal(raw, &blobs) != nil {
			return
		}
		for i := range blobs.Result {
			b, ok, _ := c.check(&blobs.Result[i], []Namespace{ns})
			if ok && (b.Namespace != ns || len(b.Data) == 0) {
				t.Fatal("handed over what was not asked for")
			}
		}
		if blobs.Error != nil {
			_ = newRPCError("x", blobs.Error.Code, blobs.Error.Message, true).Error()
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
