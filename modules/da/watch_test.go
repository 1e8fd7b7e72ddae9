package da

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// socket serves one WebSocket connection with a script.
func socket(t *testing.T, script func(ctx context.Context, c *websocket.Conn)) string {
	t.Helper()
	e := newEndpoint(t, func(_ string, w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		script(r.Context(), c)
	})
	return e.URL
}

func say(ctx context.Context, c *websocket.Conn, frames ...string) {
	for _, f := range frames {
		if err := c.Write(ctx, websocket.MessageText, []byte(f)); err != nil {
			return
		}
	}
}

func TestWatchReadsBothEncodings(t *testing.T) {
	for name, event := range map[string]string{
		"real blob event":     `{"Blobs":null,"Height":101,"Header":{"height":101,"time":"2026-03-01T10:11:12Z"}}`,
		"local-da blob event": `{"blobs":null,"height":101}`,
		"real header event":   `{"header":{"height":"101","time":"2026-03-01T10:11:12Z"},"commit":{"height":"101"}}`,
		"header in event":     `{"Header":{"Height":"101"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			url := socket(t, func(ctx context.Context, c *websocket.Conn) {
				_, _, _ = c.Read(ctx)
				say(ctx, c,
					`{"id":1,"jsonrpc":"2.0","result":1}`,
					`{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1]}`,
					`{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1,{}]}`,
					`{"jsonrpc":"2.0","method":"other","params":[1,{"height":5}]}`,
					`{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1,`+event+`]}`,
				)
				_, _, _ = c.Read(ctx)
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			heights, err := newTestClient(t, testConfig(url)).Watch(ctx)
			require.NoError(t, err)
			require.EqualValues(t, 101, <-heights)
			cancel()
			_, open := <-heights
			require.False(t, open)
		})
	}
}

func TestWatchFallsBackToBlobEvents(t *testing.T) {
	methods := make(chan string, 2)
	url := socket(t, func(ctx context.Context, c *websocket.Conn) {
		_, raw, _ := c.Read(ctx)
		methods <- string(raw)
		say(ctx, c, refusal(-32601, "method 'header.Subscribe' not found"))
		_, raw, _ = c.Read(ctx)
		methods <- string(raw)
		say(ctx, c, `{"id":2,"jsonrpc":"2.0","result":1}`, `{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[1,{"blobs":null,"height":7}]}`)
		_, _, _ = c.Read(ctx)
	})
	ctx, cancel := context.WithCancel(t.Context())
	heights, err := newTestClient(t, testConfig(url)).Watch(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 7, <-heights)
	require.Contains(t, <-methods, "header.Subscribe")
	require.Contains(t, <-methods, "blob.Subscribe")
	cancel()
	<-heights
}

func TestWatchEnds(t *testing.T) {
	const reply = `{"id":1,"jsonrpc":"2.0","result":1}`
	for name, script := range map[string]func(ctx context.Context, c *websocket.Conn){
		"stream closed, socket open": func(ctx context.Context, c *websocket.Conn) {
			say(ctx, c, reply, `{"jsonrpc":"2.0","method":"xrpc.ch.close","params":[1]}`)
			_, _, _ = c.Read(ctx)
		},
		"socket closed": func(ctx context.Context, c *websocket.Conn) { say(ctx, c, reply) },
		"no json": func(ctx context.Context, c *websocket.Conn) {
			say(ctx, c, reply, `{`)
			_, _, _ = c.Read(ctx)
		},
		"silence": func(ctx context.Context, c *websocket.Conn) {
			say(ctx, c, reply)
			_, _, _ = c.Read(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(socket(t, func(ctx context.Context, c *websocket.Conn) {
				_, _, _ = c.Read(ctx)
				script(ctx, c)
			}))
			cfg.WatchTimeout = 50 * time.Millisecond
			heights, err := newTestClient(t, cfg).Watch(t.Context())
			require.NoError(t, err)
			_, open := <-heights
			require.False(t, open)
		})
	}
}

func TestWatchRefused(t *testing.T) {
	for name, c := range map[string]struct {
		url  string
		want error
	}{
		"no permission": {socket(t, func(ctx context.Context, c *websocket.Conn) {
			_, _, _ = c.Read(ctx)
			say(ctx, c, refusal(1, "missing permission to invoke 'Subscribe' (need 'read')"))
			_, _, _ = c.Read(ctx)
		}), ErrAuth},
		"no stream": {socket(t, func(ctx context.Context, c *websocket.Conn) {
			for range 2 {
				_, _, _ = c.Read(ctx)
				say(ctx, c, refusal(-32601, "method not found"))
			}
			_, _, _ = c.Read(ctx)
		}), ErrRejected},
		"token":         {newEndpoint(t, canned(http.StatusUnauthorized, "")).URL, ErrAuth},
		"no websocket":  {newEndpoint(t, canned(http.StatusOK, "hello")).URL, ErrUnavailable},
		"malformed":     {socket(t, func(ctx context.Context, c *websocket.Conn) { say(ctx, c, `[`) }), ErrUnavailable},
		"closed before": {socket(t, func(context.Context, *websocket.Conn) {}), ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newTestClient(t, testConfig(c.url)).Watch(t.Context())
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestWatchServer(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	for name, c := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			heights, err := c.Watch(ctx)
			require.NoError(t, err)
			last := uint64(0)
			for range 5 {
				h := <-heights
				require.Greater(t, h, last)
				last = h
			}
			cancel()
			for range heights {
			}
		})
	}
}

// TestWatchAgainAfterOutage: a stream ends with the outage, and works again after it.
func TestWatchAgainAfterOutage(t *testing.T) {
	s, _ := startServer(t, testServerConfig())
	for _, outage := range []Outage{OutageDrop, OutageRefuse} {
		for name, c := range clients(t, s) {
			t.Run(name+" "+string(outage), func(t *testing.T) {
				heights, err := c.Watch(t.Context())
				require.NoError(t, err)
				<-heights
				require.NoError(t, s.SetOutage(outage))
				for range heights {
				}
				_, err = c.Watch(t.Context())
				require.ErrorIs(t, err, ErrUnavailable)
				require.NoError(t, s.SetOutage(OutageNone))
				ctx, cancel := context.WithCancel(t.Context())
				heights, err = c.Watch(ctx)
				require.NoError(t, err)
				require.Positive(t, <-heights)
				cancel()
				for range heights {
				}
			})
		}
	}
}

// TestOfferKeepsTheNewest: a slow reader finds the newest height.
func TestOfferKeepsTheNewest(t *testing.T) {
	ch := make(chan uint64, 1)
	for h := range uint64(10) {
		offer(ch, h)
	}
	require.EqualValues(t, 9, <-ch)
	require.Empty(t, ch)
}
