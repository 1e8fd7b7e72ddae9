package da

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// Against the server, whose JSON-RPC is the library of the real node.
func TestBlobsAtIsBlobsOfEachHeight(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, _ := startServer(t, cfg)
	a, b := NamespaceOf("a"), NamespaceOf("b")
	local := s.Client()
	for i := range 5 {
		posted := make(chan error, 1)
		go func() {
			_, err := local.Submit(t.Context(), a, [][]byte{fmt.Appendf(nil, "blob %d", i), pattern(1000)})
			posted <- err
		}()
		for s.Status().Pending == 0 {
			runtime.Gosched()
		}
		_, err := s.Produce()
		require.NoError(t, err)
		require.NoError(t, <-posted)
	}
	c := newTestClient(t, testConfig(s.URL()))
	heights := []uint64{4, 1, 2, 6, 3, 5} // at 1 there are no blobs
	got, err := c.BlobsAt(t.Context(), heights, a, b, a)
	require.NoError(t, err)
	require.Len(t, got, len(heights))
	for i, height := range heights {
		want, err := c.Blobs(t.Context(), height, a, b)
		require.NoError(t, err)
		require.NoError(t, got[i].Err)
		require.ElementsMatch(t, want, got[i].Blobs, "height %d", height)
	}
	require.Len(t, got[0].Blobs, 2)

	require.NoError(t, s.PruneBelow(3))
	got, err = c.BlobsAt(t.Context(), []uint64{2, 3, 99}, a)
	require.NoError(t, err, "each height has its own fate")
	require.ErrorIs(t, got[0].Err, ErrPruned)
	require.NoError(t, got[1].Err)
	require.ErrorIs(t, got[2].Err, ErrFuture)
	require.Equal(t, uint64(2+len(heights)), c.Stats().Calls, "one call each, however many heights")
}

func TestBlobsAtAnswersInAnyOrder(t *testing.T) {
	reply := func(w http.ResponseWriter, r *http.Request, ids func(first uint64) []any) {
		var calls []struct {
			ID     uint64 `json:"id"`
			Method string `json:"method"`
			Params []any  `json:"params"`
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(raw, &calls) != nil || calls[0].Method != "blob.GetAll" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(ids(calls[0].ID))
	}
	ok := func(id any) map[string]any { return map[string]any{"jsonrpc": "2.0", "id": id, "result": nil} }
	refused := func(id any, text string) map[string]any {
		return map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": 1, "message": text}}
	}
	e := newEndpoint(t, nil)
	e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(first uint64) []any {
			return []any{
				ok(first + 3), refused(first+1, "blob: not found"), ok(first), ok(first + 100), ok(0),
				refused(first+4, "database closed"),
			}
		})
	})
	got, err := newTestClient(t, testConfig(e.URL)).BlobsAt(t.Context(), []uint64{7, 8, 9, 10, 11}, NamespaceOf("a"))
	require.NoError(t, err)
	require.Equal(t, Reply{Blobs: []Blob{}}, got[0])
	require.Equal(t, Reply{}, got[1], "no blobs, no error")
	require.ErrorIs(t, got[2].Err, ErrUnavailable, "not answered")
	require.NoError(t, got[3].Err)
	require.ErrorIs(t, got[4].Err, ErrUnavailable)
}

// Endpoints, and what stands before them, that know nothing of lists.
func TestBlobsAtWithoutLists(t *testing.T) {
	for name, body := range map[string]string{
		"one answer": result("null"), "an error": refusal(codeInvalidRequest, "batch not supported"),
		"a page": "<html>no</html>", "nothing": "", "broken": `[{"id":1,"result":[`, "no object": `[7]`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestClient(t, testConfig(newEndpoint(t, canned(http.StatusOK, body)).URL))
			_, err := c.BlobsAt(t.Context(), []uint64{1, 2}, NamespaceOf("a"))
			require.ErrorIs(t, err, ErrUnavailable)
		})
	}
	c := newTestClient(t, testConfig("http://127.0.0.1:1"))
	_, err := c.BlobsAt(t.Context(), []uint64{1, 0}, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrRejected)
	_, err = c.BlobsAt(t.Context(), []uint64{1, 2}, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrUnavailable)
}
