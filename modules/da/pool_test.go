package da

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// TestPoolGoesOnWhenOneEndpointDies: reads and submissions go on at the other
// one, in the same call, and the operator is told once.
func TestPoolGoesOnWhenOneEndpointDies(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	a, b := newFront(t, s.URL()), newFront(t, s.URL())
	p, logs := poolOf(t, a.URL, b.URL)
	ns := NamespaceOf("a")
	at, err := p.Submit(t.Context(), ns, [][]byte{{1}})
	require.NoError(t, err)
	require.Zero(t, p.reads())
	require.Zero(t, b.count("blob.Submit")+b.count("header.NetworkHead"))
	a.kill()
	for range 3 {
		got, err := p.Blobs(t.Context(), at, ns)
		require.NoError(t, err)
		require.Len(t, got, 1)
		head, err := p.Head(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, head.Height, at)
		replies, err := p.BlobsAt(t.Context(), []uint64{at, at - 1}, ns)
		require.NoError(t, err)
		require.Len(t, replies[0].Blobs, 1)
		_, err = p.Submit(t.Context(), ns, [][]byte{{2}})
		require.NoError(t, err)
	}
	require.Equal(t, 1, p.reads())
	require.Equal(t, 1, p.posts())
	require.Len(t, logs.FilterMessage("another da endpoint takes over").All(), 1)
	ends := p.Endpoints()
	require.NotZero(t, ends[0].Failures)
	require.NotEmpty(t, ends[0].LastErr)
	require.Empty(t, ends[1].LastErr)
	require.Greater(t, ends[0].Score, ends[1].Score)
	b.kill()
	_, err = p.Head(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = p.HeaderAt(t.Context(), 1)
	require.ErrorIs(t, err, ErrUnavailable)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Head(gone)
	require.ErrorIs(t, err, context.Canceled)
	byMethod := map[string][3]uint64{}
	for _, c := range p.Calls() {
		require.Positive(t, c.Time, c.Method)
		byMethod[c.Method] = [3]uint64{c.Answered, c.Absent, c.Failed}
	}
	require.Equal(t, [3]uint64{0, 0, 2}, byMethod["header"])
	require.Equal(t, [3]uint64{3, 0, 2}, byMethod["head"])
	require.Equal(t, [3]uint64{4, 0, 0}, byMethod["submit"])
	require.Equal(t, [3]uint64{3, 0, 1}, byMethod["blobs"])
	require.Equal(t, [3]uint64{3, 0, 0}, byMethod["blobs_batch"])
}

// TestCallsForWhatIsNotThere are neither answered nor failed.
func TestCallsForWhatIsNotThere(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	p, _ := poolOf(t, s.URL())
	_, err := p.Blobs(t.Context(), 1<<40, NamespaceOf("a"))
	require.ErrorIs(t, err, ErrFuture)
	require.Len(t, p.Calls(), 1)
	require.Equal(t, uint64(1), p.Calls()[0].Absent)
}

// TestPoolNeverPostsTwice: a submission whose answer is lost is not made again
// at the other endpoint; one that never left is.
func TestPoolNeverPostsTwice(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	a, b := newFront(t, s.URL()), newFront(t, s.URL())
	p, _ := poolOf(t, a.URL, b.URL)
	ns := NamespaceOf("a")
	a.set(func(method string, body []byte) []byte {
		if method == "blob.Submit" {
			return nil // posted, and then the line goes dead
		}
		return body
	})
	_, err := p.Submit(t.Context(), ns, [][]byte{{1}})
	require.ErrorIs(t, err, ErrUnknown)
	require.Zero(t, b.count("blob.Submit"))
	require.Equal(t, 1, posted(t, p, ns), "what was lost is found by reading")
	a.kill()
	_, err = p.Submit(t.Context(), ns, [][]byte{{2}})
	require.NoError(t, err)
	require.Equal(t, 1, b.count("blob.Submit"))
	require.Equal(t, 2, posted(t, p, ns))
}

// posted counts the blobs of a namespace.
func posted(t *testing.T, c Client, ns Namespace) (n int) {
	t.Helper()
	head, err := c.Head(t.Context())
	require.NoError(t, err)
	for h := uint64(1); h <= head.Height; h++ {
		blobs, err := c.Blobs(t.Context(), h, ns)
		require.NoError(t, err)
		n += len(blobs)
	}
	return n
}

// TestPoolPostsWhereItMay: an endpoint whose token only reads is read from and
// not posted to.
func TestPoolPostsWhereItMay(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	a, b := newFront(t, s.URL()), newFront(t, s.URL())
	p, _ := poolOf(t, a.URL, b.URL)
	a.refuse["blob.Submit"] = refusal(1, "missing permission to invoke 'Submit' (need 'write')")
	_, err := p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
	require.NoError(t, err)
	require.Zero(t, p.reads())
	require.Equal(t, 1, p.posts())
}

// TestSpam_AnEndpointThatLiesAboutACommitmentLosesRank: the height is read at
// another one, and nothing is missing.
func TestSpam_AnEndpointThatLiesAboutACommitmentLosesRank(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	a, b := newFront(t, s.URL()), newFront(t, s.URL())
	ns := NamespaceOf("a")
	for _, list := range []bool{false, true} {
		p, _ := poolOf(t, a.URL, b.URL)
		at, err := p.Submit(t.Context(), ns, [][]byte{[]byte("block")})
		require.NoError(t, err)
		a.set(func(_ string, body []byte) []byte {
			return bytes.ReplaceAll(body, []byte(`"data":"YmxvY2s="`), []byte(`"data":"bm9uZSE="`))
		})
		var got []Blob
		if list {
			replies, err := p.BlobsAt(t.Context(), []uint64{at, at - 1}, ns)
			require.NoError(t, err)
			require.NoError(t, replies[0].Err)
			got = replies[0].Blobs
		} else {
			got, err = p.Blobs(t.Context(), at, ns)
			require.NoError(t, err)
		}
		require.Equal(t, "block", string(got[0].Data))
		require.Equal(t, 1, p.reads())
		require.NotZero(t, p.Endpoints()[0].Lies)
		a.set(nil)
		got, err = p.Blobs(t.Context(), at, ns)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, 1, p.reads(), "it is not forgiven at once")
	}
	// With nobody else to ask the height stays unread.
	p, _ := poolOf(t, a.URL)
	at, err := p.Submit(t.Context(), ns, [][]byte{[]byte("block")})
	require.NoError(t, err)
	a.set(func(_ string, body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`"data":"YmxvY2s="`), []byte(`"data":"bm9uZSE="`))
	})
	_, err = p.Blobs(t.Context(), at, ns)
	require.ErrorIs(t, err, ErrDishonest)
}

// TestPoolStreamMovesAlong: the head stream ends when its endpoint is left.
func TestPoolStreamMovesAlong(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	a, b := newFront(t, s.URL()), newFront(t, s.URL())
	p, _ := poolOf(t, a.URL, b.URL)
	heights, err := p.Watch(t.Context())
	require.NoError(t, err)
	require.NotZero(t, <-heights)
	require.NotZero(t, p.Endpoints()[0].Head, "what the stream tells counts")
	a.set(func(string, []byte) []byte { return []byte("no JSON") })
	_, err = p.Head(t.Context())
	require.NoError(t, err)
	for range heights { // ends
	}
	heights, err = p.Watch(t.Context())
	require.NoError(t, err)
	require.NotZero(t, <-heights)
	require.NotZero(t, p.Endpoints()[1].Head)
	require.Equal(t, 0, b.count("blob.GetAll"))
}

// TestPoolHidesSecrets: tokens in URLs are shown nowhere.
func TestPoolHidesSecrets(t *testing.T) {
	p, logs := poolOf(t, "http://user:pass@127.0.0.1:1/x?token=secret", "http://127.0.0.1:2?token=secret")
	_, err := p.Head(t.Context())
	require.Error(t, err)
	text := fmt.Sprint(p.Endpoints(), err, logs.All())
	require.NotContains(t, text, "secret")
	require.NotContains(t, text, "pass")
	require.Equal(t, []string{"http://127.0.0.1:1/x", "http://127.0.0.1:2"}, []string{p.Endpoints()[0].Address, p.Endpoints()[1].Address})
}

// TestPoolSendsTheTokenOfEachURL: the server sees the token of its own URL.
func TestPoolSendsTheTokenOfEachURL(t *testing.T) {
	var seen []string
	e := newEndpoint(t, func(_ string, w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Query().Get("token"))
		canned(http.StatusOK, result(realHeader))("", w, r)
	})
	p, _ := poolOf(t, e.URL+"?token=one", strings.Replace(e.URL, "127.0.0.1", "localhost", 1)+"?token=two")
	p.probe(t.Context())
	slices.Sort(seen)
	require.Equal(t, []string{"one", "two"}, seen)
}

// TestAnswersShareTheirBound: reads of large heights at two endpoints all end, and
// what they hold meanwhile stays within the bound and one answer.
func TestAnswersShareTheirBound(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	a, b := newFront(t, s.URL()), newFront(t, s.URL())
	cfg := testConfig("")
	cfg.Addresses, cfg.AnswerBytes = []string{a.URL, b.URL}, 1<<20
	p, err := NewPool(Params{Config: cfg, Log: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	ns := NamespaceOf("a")
	at, err := p.Submit(t.Context(), ns, [][]byte{make([]byte, 1<<20)})
	require.NoError(t, err)
	const readers = 16
	done := make(chan error, readers)
	for i := range readers {
		go func() {
			blobs, err := p.all[i%2].client.Blobs(t.Context(), at, ns)
			if err == nil && len(blobs) != 1 {
				err = fmt.Errorf("got %d blobs", len(blobs))
			}
			done <- err
		}()
	}
	peak := 0
	for left := readers; left > 0; {
		select {
		case err := <-done:
			require.NoError(t, err)
			left--
		default:
			peak = max(peak, p.AnswerBytes())
			runtime.Gosched()
		}
	}
	require.Positive(t, peak)
	require.LessOrEqual(t, peak, cfg.AnswerBytes+2*(5<<19+quantum), "the bound, and at each endpoint one answer while its buffer grows by a copy")
	require.Zero(t, p.AnswerBytes())
}
