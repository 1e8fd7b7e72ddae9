package da

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/stretchr/testify/require"
)

// foreign is how an ev-node talks to its DA endpoint: proxy structs of go-jsonrpc.
type foreign struct {
	Blob struct {
		Submit    func(context.Context, []*rpcBlobOut, *submitOptions) (uint64, error)
		Get       func(context.Context, uint64, []byte, []byte) (*rpcBlobOut, error)
		GetAll    func(context.Context, uint64, [][]byte) ([]*rpcBlobOut, error)
		Included  func(context.Context, uint64, []byte, []json.RawMessage, []byte) (bool, error)
		GetProof  func(context.Context, uint64, []byte, []byte) (json.RawMessage, error)
		Subscribe func(context.Context, []byte) (<-chan *foreignEvent, error)
	}
	Header struct {
		NetworkHead func(context.Context) (json.RawMessage, error)
		Subscribe   func(context.Context) (<-chan json.RawMessage, error)
	}
}

type rpcBlobOut struct {
	Namespace    []byte `json:"namespace"`
	Data         []byte `json:"data"`
	ShareVersion uint32 `json:"share_version"`
	Commitment   []byte `json:"commitment"`
	Index        int    `json:"index"`
}

// foreignEvent has lower-case keys and a numeric height, as that client has.
type foreignEvent struct {
	Blobs  []*rpcBlobOut `json:"blobs"`
	Height uint64        `json:"height"`
	Header *struct {
		Height uint64    `json:"height"`
		Time   time.Time `json:"time"`
	} `json:"header"`
}

func connect(t *testing.T, address string) *foreign {
	t.Helper()
	var f foreign
	for namespace, out := range map[string]any{"blob": &f.Blob, "header": &f.Header} {
		closer, err := jsonrpc.NewClient(t.Context(), address, namespace, out, http.Header{})
		require.NoError(t, err)
		t.Cleanup(closer)
	}
	return &f
}

func TestForeignClient(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	ns := NamespaceOf("c1-headers")
	for _, address := range []string{s.URL(), strings.Replace(s.URL(), "http", "ws", 1)} {
		t.Run(address[:2], func(t *testing.T) {
			f := connect(t, address)
			none, err := f.Blob.GetAll(t.Context(), 1, [][]byte{ns[:]})
			require.NoError(t, err)
			require.Nil(t, none)
			height, err := f.Blob.Submit(t.Context(), []*rpcBlobOut{{Namespace: ns[:], Data: []byte("x"), Index: -1}}, &submitOptions{})
			require.NoError(t, err)
			got, err := f.Blob.GetAll(t.Context(), height, [][]byte{ns[:]})
			require.NoError(t, err)
			require.Len(t, got, 1)
			want, err := Commit(ns, []byte("x"))
			require.NoError(t, err)
			require.Equal(t, want[:], got[0].Commitment)
			one, err := f.Blob.Get(t.Context(), height, ns[:], want[:])
			require.NoError(t, err)
			require.Equal(t, got[0], one)
			ok, err := f.Blob.Included(t.Context(), height, ns[:], []json.RawMessage{}, want[:])
			require.NoError(t, err)
			require.True(t, ok)
			_, err = f.Blob.GetAll(t.Context(), height+10_000, [][]byte{ns[:]})
			require.ErrorContains(t, err, "given height is from the future")
			_, err = f.Blob.GetProof(t.Context(), height, ns[:], want[:])
			require.ErrorContains(t, err, "method 'blob.GetProof' not found")
			head, err := f.Header.NetworkHead(t.Context())
			require.NoError(t, err)
			require.Contains(t, string(head), `"height":"`)
		})
	}
}

func TestForeignSubscription(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	f := connect(t, strings.Replace(s.URL(), "http", "ws", 1))
	ns := NamespaceOf("c1-data")
	ctx, cancel := context.WithCancel(t.Context())
	events, err := f.Blob.Subscribe(ctx, ns[:])
	require.NoError(t, err)
	headers, err := f.Header.Subscribe(ctx)
	require.NoError(t, err)
	height, err := f.Blob.Submit(ctx, []*rpcBlobOut{{Namespace: ns[:], Data: []byte("x"), Index: -1}}, &submitOptions{})
	require.NoError(t, err)
	last := uint64(0)
	for ev := range events {
		require.NotNil(t, ev.Header)
		require.Equal(t, ev.Height, ev.Header.Height)
		if last > 0 {
			require.Equal(t, last+1, ev.Height, "an event for every block")
		}
		last = ev.Height
		if ev.Height != height {
			require.Empty(t, ev.Blobs)
			continue
		}
		require.Len(t, ev.Blobs, 1)
		break
	}
	require.Contains(t, string(<-headers), `"height":"`)
	cancel()
	for range events {
	}
	for range headers {
	}
}

// TestSubscriptionFraming reads the frames themselves.
func TestSubscriptionFraming(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	conn, _, err := websocket.Dial(t.Context(), s.URL(), nil) //nolint:bodyclose // the library closes it
	require.NoError(t, err)
	defer func() { _ = conn.CloseNow() }()
	ns := NamespaceOf("a")
	write := func(body string) { require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(body))) }
	read := func() string {
		_, raw, err := conn.Read(t.Context())
		require.NoError(t, err)
		return strings.TrimSpace(string(raw))
	}
	write(`{"jsonrpc":"2.0","id":7,"method":"blob.Subscribe","params":[` + string(appendBase64(nil, ns[:])) + `]}`)
	require.JSONEq(t, `{"id":7,"jsonrpc":"2.0","result":1}`, read())
	require.Regexp(t, `^{"jsonrpc":"2.0","method":"xrpc.ch.val","params":\[1,{"Blobs":null,"Height":\d+,"Header":{"version":{"block":11,"app":9},`, read())
	write(`{"jsonrpc":"2.0","method":"xrpc.cancel","params":[7]}`)
	for {
		frame := read()
		if strings.Contains(frame, "xrpc.ch.close") {
			require.JSONEq(t, `{"jsonrpc":"2.0","method":"xrpc.ch.close","params":[1]}`, frame)
			break
		}
	}
	write(rpcCall("node.Ready", "[]"))
	require.Contains(t, read(), `"result":true`, "the socket stays open")
}

// TestSlowSubscriberIsClosed: a reader that does not read loses its stream, not the server.
func TestSlowSubscriberIsClosed(t *testing.T) {
	cfg := testServerConfig()
	cfg.Freeze = true
	s, _ := startServer(t, cfg)
	n, err := s.opened()
	require.NoError(t, err)
	block := make(chan struct{})
	events, err := stream(t.Context(), n, func(h uint64) (uint64, error) {
		<-block
		return h, nil
	})
	require.NoError(t, err)
	for range subscriberBuffer + 2 {
		_, err := s.Produce()
		require.NoError(t, err)
	}
	close(block)
	got := 0
	for range events {
		got++
	}
	require.LessOrEqual(t, got, subscriberBuffer+1)
	require.GreaterOrEqual(t, got, subscriberBuffer)
}

// TestEvNodeCompat: what the client of ev-node v1.2.3 cannot read of a real node.
func TestEvNodeCompat(t *testing.T) {
	cfg := testServerConfig()
	cfg.EvNodeCompat = true
	s, _ := startServer(t, cfg)
	ns := NamespaceOf("a")
	none, err := connect(t, s.URL()).Blob.GetAll(t.Context(), 0, [][]byte{ns[:]})
	require.NoError(t, err)
	require.Empty(t, none)
	_, body := post(t, s.URL(), rpcCall("header.GetByHeight", "[1]"))
	var ans struct {
		Result struct {
			Header struct {
				Height uint64    `json:"height"`
				Time   time.Time `json:"time"`
			} `json:"header"`
			Height string    `json:"height"`
			Time   time.Time `json:"time"`
		} `json:"result"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &ans))
	require.EqualValues(t, 1, ans.Result.Header.Height)
	require.Equal(t, "1", ans.Result.Height)
	require.Equal(t, ans.Result.Header.Time, ans.Result.Time)
	h, err := newTestClient(t, testConfig(s.URL())).HeaderAt(t.Context(), 1)
	require.NoError(t, err)
	require.True(t, h.Time.Equal(ans.Result.Time))
}
