package execution

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

type httpCase struct {
	method, target, body string
	status               int
	want                 string
}

func (c httpCase) check(t *testing.T, h http.Handler) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader(c.body)))
	require.Equal(t, c.status, w.Code, "%s %s: %s", c.method, c.target, w.Body)
	require.Equal(t, c.want, w.Body.String(), "%s %s", c.method, c.target)
}

func TestHTTP(t *testing.T) {
	cfg := Default()
	cfg.Mempool = MempoolConfig{MaxBytes: 2*txOverhead + 20, MaxTxs: 100, MaxTxBytes: 10}
	kv, evolve := initKV(t, cfg), openEvolve(t, t.TempDir(), cfg)
	_, err := evolve.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	for name, e := range map[string]interface {
		Executor
		HTTPProvider
	}{NameKV: kv, NameEvolveKV: evolve} {
		t.Run(name, func(t *testing.T) {
			h := e.Handler()
			for _, c := range []httpCase{
				{"POST", "/tx", "a=1", 202, "Transaction accepted"},
				{"POST", "/tx", "a=1", 202, "Transaction accepted"}, // queued once
				{"POST", "/tx", "", 400, "Empty transaction\n"},
				{"GET", "/tx", "", 405, "Method not allowed\n"},
				{"POST", "/tx", "12345678901", 413, "Transaction too large, at most 10 bytes\n"},
				{"POST", "/tx", "12345678=0", 202, "Transaction accepted"},
				{"POST", "/tx", "b=12345678", 503, "Mempool is full, try again later\n"},
				{"GET", "/kv", "", 400, "Missing key parameter\n"},
				{"GET", "/kv?key=a", "", 404, "Key not found\n"},
				{"POST", "/kv?key=a", "", 405, "Method not allowed\n"},
				{"GET", "/stats", "", 200, `{"injected_txs":2,"executed_txs":0,"blocks_produced":0}` + "\n"},
				{"POST", "/stats", "", 405, "Method not allowed\n"},
				{"POST", "/store", "", 405, "Method not allowed\n"},
				{"GET", "/store?limit=0", "", 400, "Invalid limit parameter, want a positive number\n"},
			} {
				c.check(t, h)
			}
			txs, err := e.GetTxs(t.Context(), 100)
			require.NoError(t, err)
			require.Len(t, txs, 2)
			execute(t, e, 1, string(txs[0]), string(txs[1]), "<b>=<1>&", "c=1")
			execute(t, e, 2, "c=2")
			for h := uint64(3); h < 10; h++ {
				execute(t, e, h)
			}
			execute(t, e, 10, "c=10")
			for _, c := range []httpCase{
				{"GET", "/kv?key=a", "", 200, "1"},
				{"GET", "/kv?key=c", "", 200, "10"},
				{"GET", "/kv?key=%3Cb%3E", "", 200, "<1>&"},
				{"GET", "/stats", "", 200, `{"injected_txs":2,"executed_txs":6,"blocks_produced":10}` + "\n"},
				{"GET", "/nothing", "", 404, "404 page not found\n"},
			} {
				c.check(t, h)
			}
		})
	}
}

// Every answer is the state after some block.
func TestHTTPBesideExecution(t *testing.T) {
	kv, evolve := initKV(t, Default()), openEvolve(t, t.TempDir(), Default())
	_, err := evolve.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	for name, e := range map[string]interface {
		Executor
		HTTPProvider
		Rollbacker
	}{NameKV: kv, NameEvolveKV: evolve} {
		t.Run(name, func(t *testing.T) {
			h := e.Handler()
			done := make(chan struct{})
			var readers sync.WaitGroup
			for _, target := range []string{"/kv?key=a", "/store", "/stats"} {
				readers.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						w := httptest.NewRecorder()
						h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
						if w.Code != http.StatusOK && w.Code != http.StatusNotFound {
							t.Errorf("%s: %d %s", target, w.Code, w.Body)
						}
					}
				})
			}
			for height := uint64(1); height <= 60; height++ {
				execute(t, e, height, fmt.Sprintf("a=%d", height), fmt.Sprintf("b%d=x", height))
				if height%20 == 0 {
					require.NoError(t, e.Rollback(t.Context(), height-5))
					for again := height - 4; again <= height; again++ {
						execute(t, e, again, "a=again")
					}
				}
			}
			close(done)
			readers.Wait()
		})
	}
}

func storeOf(t *testing.T, h http.Handler, query string) (body string, entries map[string]string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/store"+query, nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &entries))
	var asMap strings.Builder
	require.NoError(t, json.NewEncoder(&asMap).Encode(entries))
	require.Equal(t, asMap.String(), w.Body.String(), "the form of encoding/json")
	return w.Body.String(), entries
}

func TestHTTPStoreEvolve(t *testing.T) {
	k := openEvolve(t, t.TempDir(), Default())
	h := k.Handler()
	_, entries := storeOf(t, h, "")
	require.Empty(t, entries)
	_, err := k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	_, entries = storeOf(t, h, "")
	require.Empty(t, entries, "neither the genesis records nor ours")
	execute(t, k, 1, "a=<1>", "z=")
	execute(t, k, 2, "a=2")
	require.NoError(t, k.SetFinal(t.Context(), 2))
	_, entries = storeOf(t, h, "")
	require.Equal(t, map[string]string{"/finalizedHeight": "2", "/height/1/a": "<1>", "/height/1/z": "", "/height/2/a": "2"}, entries)
	_, entries = storeOf(t, h, "?limit=2&after=/finalizedHeight")
	require.Equal(t, map[string]string{"/height/1/a": "<1>", "/height/1/z": ""}, entries)
}

func TestHTTPStoreKV(t *testing.T) {
	k := initKV(t, Default())
	h := k.Handler()
	_, entries := storeOf(t, h, "")
	require.Empty(t, entries)
	txs := make([]string, 0, storePage+5)
	for i := range storePage + 5 {
		txs = append(txs, fmt.Sprintf("k%05d=%d", i, i))
	}
	execute(t, k, 1, txs...)
	_, entries = storeOf(t, h, "?limit=1000000")
	require.Len(t, entries, storePage)
	_, entries = storeOf(t, h, fmt.Sprintf("?after=k%05d", storePage-1))
	require.Len(t, entries, 5)
	require.Equal(t, "1004", entries["k01004"])
}

func TestHTTPNoop(t *testing.T) {
	h := NewNoop(Default(), zaptest.NewLogger(t)).Handler()
	httpCase{"GET", "/store", "", 200, "{}\n"}.check(t, h)
	httpCase{"GET", "/kv?key=a", "", 404, "Key not found\n"}.check(t, h)
	httpCase{"POST", "/tx", "a=1", 202, "Transaction accepted"}.check(t, h)
}

// A body whose length is not announced is cut off as well.
func TestHTTPBodyIsBounded(t *testing.T) {
	cfg := Default()
	cfg.Mempool.MaxTxBytes = 1000
	h := NewNoop(cfg, zaptest.NewLogger(t)).Handler()
	endless := &countingReader{}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/tx", io.NopCloser(endless)))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	require.Less(t, endless.n, 10_000)
}

type countingReader struct{ n int }

func (r *countingReader) Read(p []byte) (int, error) { r.n += len(p); return len(p), nil }

// What would have no effect in a block is refused at the door.
func TestSubmitRefusesWhatWritesNothing(t *testing.T) {
	h := initKV(t, Default()).Handler()
	for _, tx := range []string{"foo", "=x", " =x", strings.Repeat("k", maxKeyBytes+1) + "=x"} {
		httpCase{"POST", "/tx", tx, 400, "transaction would have no effect: want KEY=VALUE with a key of 1 to 1024 bytes\n"}.check(t, h)
	}
}
