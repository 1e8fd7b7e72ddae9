package rpc_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/testutil"
)

// ask sends a request with a Host and an Origin of its own.
func (w *world) ask(method, path, host, origin string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url(path), strings.NewReader("a=1"))
	require.NoError(w.t, err)
	req.Host = host
	req.Header.Set("Content-Type", "text/plain")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	return w.send(w.http, req)
}

// A web page that had its name point at this machine must not read the API.
func TestForeignHostsAreRefused(t *testing.T) {
	w := newWorld(t, func(p *rpc.Params) {
		p.App, p.Produces, p.Config.AllowedHosts = app(), true, []string{"node.example.org"}
	})
	for _, path := range []string{"/status", "/metrics", "/evidence", "/health/ready", "/kv", "/tx", "/log/level", "/evnode.v1.StoreService/GetState"} {
		for _, host := range []string{"evil.example", "evil.example:7331", "127.0.0.1.evil.example", "localhost.evil.example", "[evil]"} {
			r := w.ask(http.MethodPost, path, host, "")
			require.Equal(t, http.StatusForbidden, r.code, "%s of %s", path, host)
			require.Contains(t, string(r.body), "rpc.allowed_hosts")
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:7331", "127.0.0.1", "10.0.0.5:7331", "[::1]:7331", "[::1]", "node.example.org:443", "Node.Example.Org."} {
		require.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/kv", host, "").code, host)
	}
}

func TestAnyHostWhereConfigured(t *testing.T) {
	w := newWorld(t, func(p *rpc.Params) { p.Config.AllowedHosts = []string{"*"} })
	require.Equal(t, http.StatusOK, w.ask(http.MethodGet, "/status", "evil.example", "").code)
}

// Pages of other origins change nothing and read nothing, unless configured.
func TestOtherOrigins(t *testing.T) {
	const page = "https://app.example.org"
	closed := newWorld(t, func(p *rpc.Params) { p.App, p.Produces = app(), true })
	require.Equal(t, http.StatusForbidden, closed.ask(http.MethodPost, "/tx", "localhost", page).code)
	r := closed.ask(http.MethodGet, "/kv", "localhost", page)
	require.Empty(t, r.header.Get("Access-Control-Allow-Origin"), "a browser keeps the answer from the page")

	open := newWorld(t, func(p *rpc.Params) { p.App, p.Produces, p.Config.CORSOrigins = app(), true, []string{page} })
	r = open.ask(http.MethodPost, "/tx", "localhost", page)
	require.Equal(t, http.StatusOK, r.code)
	require.Equal(t, page, r.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, http.StatusForbidden, open.ask(http.MethodPost, "/tx", "localhost", "https://evil.example").code)

	anybody := newWorld(t, func(p *rpc.Params) { p.App, p.Produces, p.Config.CORSOrigins = app(), true, []string{"*"} })
	r = anybody.ask(http.MethodPost, "/tx", "localhost", "https://evil.example")
	require.Equal(t, http.StatusOK, r.code)
	require.Equal(t, "*", r.header.Get("Access-Control-Allow-Origin"))
}

func TestPreflight(t *testing.T) {
	const page = "https://app.example.org"
	w := newWorld(t, func(p *rpc.Params) { p.Config.CORSOrigins = []string{page} })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, w.url("/evnode.v1.StoreService/GetState"), nil)
	require.NoError(t, err)
	req.Header.Set("Origin", page)
	req.Header.Set("Access-Control-Request-Method", http.MethodPost)
	req.Header.Set("Access-Control-Request-Headers", "content-type")
	r := w.send(w.http, req)
	require.Equal(t, http.StatusNoContent, r.code)
	require.Equal(t, page, r.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, http.MethodPost, r.header.Get("Access-Control-Allow-Methods"))
}

func TestAccessConfig(t *testing.T) {
	for want, change := range map[string]func(*rpc.Config){
		`rpc.allowed_hosts has "http://x"`:   func(c *rpc.Config) { c.AllowedHosts = []string{"http://x"} },
		`rpc.allowed_hosts has "x:1"`:        func(c *rpc.Config) { c.AllowedHosts = []string{"x:1"} },
		`rpc.cors_origins has "example.org"`: func(c *rpc.Config) { c.CORSOrigins = []string{"example.org"} },
		`rpc.cors_origins has "https://a/b"`: func(c *rpc.Config) { c.CORSOrigins = []string{"https://a/b"} },
		`rpc.forward_to is "10.0.0.5:7331"`:  func(c *rpc.Config) { c.ForwardTo = "10.0.0.5:7331" },
		`rpc.forward_to is "ftp://x"`:        func(c *rpc.Config) { c.ForwardTo = "ftp://x" },
		`rpc.max_connections is 7`:           func(c *rpc.Config) { c.MaxConnections = 7 },
		`rpc.body_bytes is 1000`:             func(c *rpc.Config) { c.BodyBytes = 1000 },
	} {
		c := rpc.Default()
		change(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}

// A node that makes no blocks passes transactions on or refuses them.
func TestFollowerForwardsTransactions(t *testing.T) {
	var got []byte
	sequencer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		if r.URL.Path == "/tx" {
			w.WriteHeader(http.StatusAccepted)
		}
		_, _ = io.WriteString(w, "Transaction accepted")
	}))
	defer sequencer.Close()
	w := newWorld(t, func(p *rpc.Params) { p.App, p.Config.ForwardTo = app(), sequencer.URL+"/" })
	r := w.do(http.MethodPost, "/tx", "", strings.NewReader("a=1"))
	require.Equal(t, http.StatusAccepted, r.code)
	require.Equal(t, "Transaction accepted", string(r.body))
	require.Equal(t, "a=1", string(got))
	sum := block.Sum([]byte("a=1"))
	require.Equal(t, sum.String(), r.header.Get(rpc.TxHashHeader))

	sequencer.Close()
	r = w.do(http.MethodPost, "/tx", "", strings.NewReader("a=1"))
	require.Equal(t, http.StatusBadGateway, r.code)
	require.Contains(t, string(r.body), "rpc.forward_to")
}

func TestForwardingFollowsNoRedirect(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	sequencer := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer sequencer.Close()
	w := newWorld(t, func(p *rpc.Params) { p.App, p.Config.ForwardTo = app(), sequencer.URL })
	require.Equal(t, http.StatusTemporaryRedirect, w.do(http.MethodPost, "/tx", "", strings.NewReader("a=1")).code)
	require.False(t, asked)
}

func TestFollowerRefusesTransactions(t *testing.T) {
	w := newWorld(t, func(p *rpc.Params) { p.App = app() })
	r := w.do(http.MethodPost, "/tx", "", strings.NewReader("a=1"))
	require.Equal(t, http.StatusMisdirectedRequest, r.code)
	require.Contains(t, string(r.body), "rpc.forward_to")
}

// Clients that never finish a request give way to those that do.
func TestUnfinishedRequestsGiveWay(t *testing.T) {
	const most = 8
	for name, text := range map[string]string{
		"nothing":       "",
		"half a header": "GET /status HTTP/1.1\r\nHost: localhost\r\n",
		"half a body":   "POST /tx HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\na=",
		"HTTP/2":        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(p *rpc.Params) { p.App, p.Produces, p.Config.MaxConnections = app(), true, most })
			var rude []net.Conn
			for range 10 * most {
				c := w.dial()
				_, err := io.WriteString(c, text)
				require.NoError(t, err)
				rude = append(rude, c)
			}
			require.Eventually(t, func() bool { return w.load().Closed >= 9*most }, 10*time.Second, time.Millisecond)
			require.LessOrEqual(t, w.load().Connections, most)
			require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/status", "", nil).code)
			_, err := io.ReadAll(rude[0])
			_ = err // closed, with or without a reset
		})
	}
}

// A connection whose request is being answered stays, whoever else comes.
func TestAnswersUnderWayStay(t *testing.T) {
	const most = 8
	entered, leave := make(chan struct{}, most), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		_, _ = io.WriteString(w, "done")
	})
	w := newWorld(t, func(p *rpc.Params) { p.App, p.Config.MaxConnections = slow, most })
	busy := make([]net.Conn, most)
	for i := range busy {
		busy[i] = w.dial()
		_, err := io.WriteString(busy[i], "GET /kv HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		<-entered
	}
	extra := w.dial()
	_, err := io.WriteString(extra, "GET /kv HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err == nil {
		_, err = extra.Read(make([]byte, 1))
	}
	require.Error(t, err, "the new one is closed")
	close(leave)
	for i, c := range busy {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err, "connection %d", i)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "done", string(body))
	}
}

// The bodies of all requests together are bounded; a whole one keeps its room.
func TestBodiesAreBounded(t *testing.T) {
	const most = 1 << 20
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	w := newWorld(t, func(p *rpc.Params) {
		p.App, p.Produces, p.Config.MaxRequestBytes, p.Config.BodyBytes = hanging(entered, leave), true, most/2, most
	})
	w.post(most/2, most/2)
	<-entered
	require.GreaterOrEqual(t, w.load().BodyBytes, int64(most/2))
	r := w.do(http.MethodPost, "/tx", "", strings.NewReader(strings.Repeat("k", most*7/16)))
	require.Equal(t, http.StatusServiceUnavailable, r.code)
	close(leave)
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, "/tx", "", strings.NewReader("a=1")).code)
	require.Eventually(t, func() bool { return w.load().BodyBytes == 0 }, 10*time.Second, time.Millisecond)
}

// hanging is an executor that reads requests and answers them when leave is closed.
func hanging(entered chan<- struct{}, leave <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		tx, _ := io.ReadAll(r.Body)
		entered <- struct{}{}
		<-leave
		runtime.KeepAlive(tx)
	})
}

// post begins a POST /tx and sends a part of its body.
func (w *world) post(length, sent int) net.Conn {
	w.t.Helper()
	c := w.dial()
	_, err := fmt.Fprintf(c, "POST /tx HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", length, strings.Repeat("k", sent))
	require.NoError(w.t, err)
	return c
}

// Bodies that do not end hold no room of those that do.
func TestUnfinishedBodiesGiveWay(t *testing.T) {
	const most, one = 1 << 20, 1 << 18
	w := newWorld(t, func(p *rpc.Params) {
		p.App, p.Produces, p.Config.MaxRequestBytes, p.Config.BodyBytes = app(), true, one, most
	})
	rude := []net.Conn{w.post(one, one-1), w.post(one, one-1), w.post(one, one-1)}
	require.Eventually(t, func() bool { return w.load().BodyBytes >= 3*(one-1)*5/4 }, 10*time.Second, time.Millisecond, "all are counted")
	body := strings.Repeat("k", one)
	require.Eventually(t, func() bool {
		return w.do(http.MethodPost, "/tx", "", strings.NewReader(body)).code == http.StatusOK
	}, 10*time.Second, 100*time.Millisecond)
	require.Equal(t, uint64(1), w.load().BodiesClosed)
	answered := 0
	for _, c := range rude {
		_, _ = io.WriteString(c, "k") // closed, with or without a reset, or whole now
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
			answered++
		}
	}
	require.Equal(t, 2, answered, "there is room for the others")
	require.Eventually(t, func() bool { return w.load().BodyBytes == 0 }, 10*time.Second, time.Millisecond)
}

// TestFloodOfBodiesStaysWithinItsFigure: bodies of any size take the memory that is
// counted for them, on their way and while they are being answered.
func TestFloodOfBodiesStaysWithinItsFigure(t *testing.T) {
	const most = 16 << 20
	for _, size := range []int{100 << 10, 1 << 20, 1<<20 + 1, 3 << 20} {
		for name, missing := range map[string]int{"on their way": 1, "being answered": 0} {
			t.Run(fmt.Sprintf("%d bytes %s", size, name), func(t *testing.T) {
				n := most * 4 / 5 / size
				entered, leave := make(chan struct{}, n), make(chan struct{})
				w := newWorld(t, func(p *rpc.Params) {
					p.App, p.Produces, p.Config.BodyBytes = hanging(entered, leave), true, most
				})
				defer close(leave)
				live := testutil.Live(func() any {
					for range n {
						w.post(size+missing, size)
					}
					require.Eventually(t, func() bool { return w.load().BodyBytes >= int64(n*size*5/4) }, 10*time.Second, time.Millisecond)
					for range n * (1 - missing) {
						<-entered
					}
					return nil
				})
				testutil.CheckFigure(t, "bodies", live, int(w.load().BodyBytes))
				testutil.CheckFigure(t, "bodies, to their bound", int(w.load().BodyBytes), most)
			})
		}
	}
}

// TestConnectionsTakeWhatTheySay: the figure of docs/limits.md, for connections that
// send half a request and for those that are idle.
func TestConnectionsTakeWhatTheySay(t *testing.T) {
	const n, each = 400, 35 << 10
	for name, text := range map[string]string{
		"nothing":       "",
		"half a header": "GET /status HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 15<<10),
		"HTTP/2":        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			live := testutil.Live(func() any {
				var all []net.Conn
				for range n {
					c := w.dial()
					_, err := io.WriteString(c, text)
					require.NoError(t, err)
					all = append(all, c)
				}
				require.Eventually(t, func() bool { return w.load().Connections == n }, 10*time.Second, time.Millisecond)
				return all
			})
			t.Logf("%d bytes each", live/n)
			require.LessOrEqual(t, live, n*each*3/2)
		})
	}
}
