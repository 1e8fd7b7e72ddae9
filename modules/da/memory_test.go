package da

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// worst are the ways an answer can be made to take more memory than its length:
// a beginning, and what is repeated after it.
func worst() map[string][2]string {
	ns := NamespaceOf("a")
	id := base64.StdEncoding.EncodeToString(ns[:])
	good, _ := Commit(ns, []byte{1})
	const open = `{"jsonrpc":"2.0","id":1,"result":[`
	return map[string][2]string{
		"empty objects":  {open, `{},`},
		"nulls":          {open, `null,`},
		"numbers":        {open, `1,`},
		"nested lists":   {open, `[`},
		"nested objects": {open, `{"a":`},
		"long string":    {open + `{"data":"`, strings.Repeat("A", 1000)},
		"escapes":        {open + `{"data":"`, strings.Repeat(`\u0041`, 100)},
		"long key":       {open + `{"`, strings.Repeat("k", 1000)},
		"long namespace": {open + `{"namespace":"`, strings.Repeat("A", 1000)},
		"many keys":      {open + `{"a":1`, `,"namespace":"` + id + `"`},
		"data twice":     {open + `{"a":1`, `,"data":"` + strings.Repeat("A", 100_000) + `"`},
		"long number":    {open + `{"share_version":`, strings.Repeat("1", 1000)},
		"many blobs":     {open, `{"namespace":"` + id + `","data":"AQ==","commitment":"` + base64.StdEncoding.EncodeToString(good[:]) + `"},`},
		"many big blobs": {open, `{"namespace":"` + id + `","data":"` + strings.Repeat("A", 1<<20) + `","share_version":7},`},
		"long message":   {`{"error":{"code":1,"message":"`, strings.Repeat("m", 1000)},
		"header time":    {`{"result":{"header":{"time":"`, strings.Repeat("9", 1000)},
		"white space":    {`{"result":`, strings.Repeat(" ", 1000)},
		"no JSON":        {`<html>`, strings.Repeat("x", 1000)},
		"list of lists":  {`[` + open, `{},`},
		"list":           {`[`, `{"id":1,"result":[]},`},
	}
}

// TestWorstAnswersTakeNoMoreThanTheirBound: while an answer is read that is as long
// as it may be, the heap stays within what docs/limits.md says one may hold,
// whatever it is made of.
func TestWorstAnswersTakeNoMoreThanTheirBound(t *testing.T) {
	const length = 16 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	for name, shape := range worst() {
		t.Run(name, func(t *testing.T) {
			chunk := []byte(strings.Repeat(shape[1], max(1, 32<<10/len(shape[1]))))
			e := newEndpoint(t, func(_ string, w http.ResponseWriter, _ *http.Request) {
				_, err := io.WriteString(w, shape[0])
				for n := 0; n < length && err == nil; n += len(chunk) {
					_, err = w.Write(chunk)
				}
			})
			cfg := testConfig(e.URL)
			cfg.MaxResponseBytes = length
			c := newTestClient(t, cfg)
			for what, call := range map[string]func() error{
				"blobs": func() error { _, err := c.Blobs(t.Context(), 3, NamespaceOf("a")); return err },
				"batch": func() error { _, err := c.BlobsAt(t.Context(), []uint64{3}, NamespaceOf("a")); return err },
				"head":  func() error { _, err := c.Head(t.Context()); return err },
				"post":  func() error { _, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}}); return err },
			} {
				const most = length * 3 / 2
				var err error
				took := uint64(math.MaxUint64)
				for try := 0; try < 5 && took >= most; try++ { // on a busy machine garbage lies longer
					took = min(took, peak(func() { err = call() }))
					require.Error(t, err, what)
				}
				require.Less(t, took, uint64(most), what)
				require.Zero(t, c.answers.used())
				require.Less(t, len(err.Error()), 4<<10)
			}
		})
	}
}

// peak returns by how much the heap was larger than before, at most, during a call.
func peak(call func()) uint64 {
	live := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	runtime.GC()
	before, most := live(), uint64(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	for {
		most = max(most, live())
		select {
		case <-done:
			return most - min(before, most)
		default:
			runtime.Gosched()
		}
	}
}

// TestHeldAnswersAreCounted: what blobs lie in memory as is what is counted, and a
// large answer does not get past its bound.
func TestHeldAnswersAreCounted(t *testing.T) {
	ns := NamespaceOf("a")
	data := bytes.Repeat([]byte{7}, 3<<20)
	commitment, err := Commit(ns, data)
	require.NoError(t, err)
	one := blobJSON(ns, data, commitment[:])
	hold := make(chan struct{})
	e := newEndpoint(t, func(_ string, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"result":[`+one+`,`)
		w.(http.Flusher).Flush()
		<-hold
		_, _ = io.WriteString(w, one+`]}`)
	})
	c := newTestClient(t, testConfig(e.URL))
	done := make(chan error, 1)
	go func() {
		blobs, err := c.Blobs(t.Context(), 3, ns)
		if err == nil && len(blobs) != 2 {
			err = fmt.Errorf("got %d blobs", len(blobs))
		}
		done <- err
	}()
	require.Eventually(t, func() bool { return c.answers.used() >= len(data)-2*quantum }, time.Minute, time.Millisecond)
	close(hold)
	require.NoError(t, <-done)
	require.Zero(t, c.answers.used())
	cfg := testConfig(e.URL)
	cfg.MaxResponseBytes = int64(len(one) + len(one)/2)
	_, err = newTestClient(t, cfg).Blobs(t.Context(), 3, ns)
	require.ErrorContains(t, err, "da.max_response_bytes")
	require.ErrorIs(t, err, ErrUnavailable)
}

// TestStalledAnswersTakeNoRoomOfOthers: calls at an endpoint whose answers stall
// delay neither small answers nor other endpoints, and cost the others nothing.
func TestStalledAnswersTakeNoRoomOfOthers(t *testing.T) {
	gone := make(chan struct{})
	slow := newEndpoint(t, func(_ string, w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"id":1,"result":[{"data":"`+strings.Repeat("A", 900<<10))
		w.(http.Flusher).Flush()
		select {
		case <-gone:
		case <-r.Context().Done():
		}
	})
	defer close(gone)
	s, _ := startServer(t, testServerConfig())
	cfg := testConfig("")
	cfg.Addresses, cfg.AnswerBytes = []string{slow.URL, s.URL()}, 1<<20
	cfg.ReadTimeout, cfg.HeadTimeout = sending, sending
	p, err := NewPool(Params{Config: cfg, Log: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	ctx, cancel := newCancel(t)
	readers := make(chan struct{})
	const many = 8
	for range many {
		go func() {
			for ctx.Err() == nil {
				_, _ = p.all[0].client.Blobs(ctx, 5, NamespaceOf("a"))
			}
			readers <- struct{}{}
		}()
	}
	require.Eventually(t, func() bool { return p.AnswerBytes() > cfg.AnswerBytes/2 }, time.Minute, time.Millisecond)
	at, err := p.all[1].client.Submit(ctx, NamespaceOf("a"), [][]byte{make([]byte, 300<<10)})
	require.NoError(t, err)
	for range 10 {
		_, err = p.Head(ctx)
		require.NoError(t, err)
		blobs, err := p.Blobs(ctx, at, NamespaceOf("a"))
		require.NoError(t, err)
		require.Len(t, blobs, 1)
	}
	require.Zero(t, p.Endpoints()[1].Failures)
	cancel()
	for range many {
		<-readers
	}
	require.Zero(t, p.AnswerBytes())
}

// TestEventsAreReadInConstantMemory: an event of the stream is bounded as sent, and
// takes no more whatever it is made of.
func TestEventsAreReadInConstantMemory(t *testing.T) {
	url := socket(t, func(ctx context.Context, c *websocket.Conn) {
		_, _, _ = c.Read(ctx)
		say(ctx, c, `{"id":1,"jsonrpc":"2.0","result":1}`)
		w, err := c.Writer(ctx, websocket.MessageText)
		chunk := []byte(strings.Repeat(`{},`, 10_000))
		if err == nil {
			_, err = io.WriteString(w, `{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1,{"a":[`)
		}
		for n := 0; n < 2*maxEventBytes && err == nil; n += len(chunk) {
			_, err = w.Write(chunk)
		}
		_, _, _ = c.Read(ctx)
	})
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	took := peak(func() {
		heights, err := newTestClient(t, testConfig(url)).Watch(t.Context())
		require.NoError(t, err)
		_, open := <-heights
		require.False(t, open)
	})
	require.Less(t, took, uint64(4<<20))
}
