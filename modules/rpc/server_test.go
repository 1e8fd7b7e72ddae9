package rpc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/rpc"
	pb "github.com/tandem-node/tandem/modules/rpc/evnodev1"
	"github.com/tandem-node/tandem/modules/rpc/evnodev1/evnodev1connect"
	"github.com/tandem-node/tandem/testutil"
)

func TestHealth(t *testing.T) {
	w := newWorld(t)
	asks := func(path string, code int, text, json string) {
		t.Helper()
		for _, accept := range []string{"", "*/*", "application/json", "text/html, application/json;q=0.9"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url(path), nil)
			require.NoError(t, err)
			req.Header.Set("Accept", accept)
			r := w.send(w.http, req)
			require.Equal(t, code, r.code)
			if strings.Contains(accept, "json") {
				require.Equal(t, "application/json", r.header.Get("Content-Type"))
				require.JSONEq(t, json, string(r.body))
				continue
			}
			require.Equal(t, "text/plain; charset=utf-8", r.header.Get("Content-Type"))
			require.Equal(t, text, string(r.body))
		}
	}
	asks("/health/live", http.StatusOK, "OK\n", `{"live":true}`)
	asks("/health/ready", http.StatusOK, "READY\n", `{"ready":true}`)

	w.node.dead = errors.New("block 9 is stored but was not applied for 3m")
	w.node.ready = rpc.Readiness{Reason: "catching up: block 3 of 90"}
	asks("/health/live", http.StatusServiceUnavailable, "FAIL: block 9 is stored but was not applied for 3m\n",
		`{"live":false,"reason":"block 9 is stored but was not applied for 3m"}`)
	asks("/health/ready", http.StatusServiceUnavailable, "UNREADY: catching up: block 3 of 90\n",
		`{"ready":false,"reason":"catching up: block 3 of 90"}`)

	w.node.ready = rpc.Readiness{Ready: true, Problems: []rpc.Problem{{Kind: "posting", Reason: "no\nway\x1b[2J"}}}
	require.Equal(t, "READY\nposting: no way [2J\n", string(w.get("/health/ready").body), "what others say does nothing to a terminal")

	r := w.do(http.MethodPost, "/health/ready", "", nil)
	require.Equal(t, http.StatusMethodNotAllowed, r.code)
	r = w.get("/nothing/here")
	require.Equal(t, http.StatusNotFound, r.code)
}

func TestStatusAsJSON(t *testing.T) {
	w := newWorld(t)
	r := w.get("/status")
	require.Equal(t, http.StatusOK, r.code)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	var got rpc.Status
	require.NoError(t, json.Unmarshal(r.body, &got))
	require.Equal(t, w.node.status, got)
	require.Contains(t, string(r.body), `"waiting_for": "data of 8"`)
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	r := w.get("/metrics")
	require.Equal(t, http.StatusOK, r.code)
	require.Contains(t, r.header.Get("Content-Type"), "text/plain")
	require.Contains(t, string(r.body), "\ntandem_things 3\n")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url("/metrics"), nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	r = w.send(w.http, req)
	require.Contains(t, r.header.Get("Content-Type"), "application/openmetrics-text")
	require.True(t, strings.HasSuffix(string(r.body), "# EOF\n"))
}

func TestExecutorEndpoints(t *testing.T) {
	w := newWorld(t)
	r := w.do(http.MethodPost, "/tx", "", strings.NewReader("a=1"))
	require.Equal(t, http.StatusNotFound, r.code, "the executor has none")

	t.Run("present", func(t *testing.T) {
		w := newWorld(t, func(p *rpc.Params) { p.App, p.Produces = app(), true })
		for _, path := range []string{"/tx", "/kv", "/store", "/stats"} {
			r := w.do(http.MethodPost, path, "text/plain", strings.NewReader("a=1"))
			require.Equal(t, http.StatusOK, r.code)
			require.Equal(t, "POST "+path+" a=1", string(r.body))
		}
	})
}

// TestRequestsAreBounded: whatever way a large request comes, it is refused with
// a text that names the bound, and it is not read to its end.
func TestRequestsAreBounded(t *testing.T) {
	const most = 4096
	w := newWorld(t, func(p *rpc.Params) { p.Config.MaxRequestBytes, p.App, p.Produces = most, app(), true })
	long := strings.Repeat("k", most)
	code, got := w.call("StoreService/GetMetadata", `{"key":"`+long+`"}`)
	require.Equal(t, http.StatusTooManyRequests, code, "what Connect has for resource_exhausted")
	require.Equal(t, "resource_exhausted", got["code"])
	require.Contains(t, got["message"], "4096")

	for name, client := range map[string]evnodev1connect.StoreServiceClient{
		"grpc":      evnodev1connect.NewStoreServiceClient(w.h2, w.url(""), connect.WithGRPC()),
		"grpc-web":  evnodev1connect.NewStoreServiceClient(w.http, w.url(""), connect.WithGRPCWeb()),
		"connect":   evnodev1connect.NewStoreServiceClient(w.http, w.url("")),
		"grpc gzip": evnodev1connect.NewStoreServiceClient(w.h2, w.url(""), connect.WithGRPC(), connect.WithSendGzip()),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.GetMetadata(t.Context(), connect.NewRequest(&pb.GetMetadataRequest{Key: long}))
			require.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err), "%v", err)
			require.ErrorContains(t, err, "4096")
		})
	}
	r := w.do(http.MethodPost, "/tx", "", strings.NewReader(long+long))
	require.Equal(t, http.StatusRequestEntityTooLarge, r.code)
	require.Contains(t, string(r.body), "too large")
}

// The services take less than the executor: their requests are a height, a hash
// or a name. Less than 64 KiB that unpack to a gigabyte cost next to nothing.
func TestServicesTakeSmallRequestsOnly(t *testing.T) {
	w := newWorld(t, func(p *rpc.Params) { p.App, p.Produces = app(), true })
	code, got := w.call("StoreService/GetMetadata", `{"key":"`+strings.Repeat("k", 64<<10)+`"}`)
	require.Equal(t, http.StatusTooManyRequests, code)
	require.Contains(t, got["message"], "65536")
	r := w.do(http.MethodPost, "/tx", "", strings.NewReader(strings.Repeat("k", 1<<20)))
	require.Equal(t, http.StatusOK, r.code)

	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(make([]byte, 32<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	frame := binary.BigEndian.AppendUint32([]byte{1}, uint32(packed.Len()))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url("/evnode.v1.StoreService/GetMetadata"),
		io.MultiReader(bytes.NewReader(frame), &packed))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Grpc-Encoding", "gzip")
	r = w.send(w.h2, req)
	require.Equal(t, "8", r.trailer.Get("Grpc-Status")+r.header.Get("Grpc-Status"), "resource_exhausted")
}

func TestHeadersAreBounded(t *testing.T) {
	w := newWorld(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url("/status"), nil)
	require.NoError(t, err)
	req.Header.Set("X-Long", strings.Repeat("x", 128<<10))
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, w.send(w.http, req).code)
}

// A client that never ends its header is hung up on.
func TestSlowHeaderIsCutOff(t *testing.T) {
	w := newWorld(t, func(p *rpc.Params) { p.Config.ReadTimeout = 50 * time.Millisecond })
	c := w.dial()
	_, err := c.Write([]byte("GET /status HTTP/1.1\r\nHost: localhost\r\nX-Never: "))
	require.NoError(t, err)
	answer, err := io.ReadAll(c) // ends when the server hangs up
	require.NoError(t, err)
	require.NotContains(t, string(answer), "200 OK")
}

// A client that never ends its body is hung up on, too.
func TestSlowBodyIsCutOff(t *testing.T) {
	w := newWorld(t, func(p *rpc.Params) { p.Config.ReadTimeout = 50 * time.Millisecond })
	c := w.dial()
	_, err := c.Write([]byte("POST /evnode.v1.StoreService/GetState HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"))
	require.NoError(t, err)
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	require.NotContains(t, string(answer), "200 OK")
}

// A client that does not read its answer does not hold it for ever.
func TestSlowReaderIsCutOff(t *testing.T) {
	const size = 5 << 20
	w := newWorld(t, func(p *rpc.Params) { p.Config.WriteTimeout = 200 * time.Millisecond })
	w.apply(w.chain.Next(make([]byte, size)))
	c := w.dial()
	const ask = "POST /evnode.v1.StoreService/GetBlock HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\nContent-Length: 2\r\n\r\n\x08\x01"
	_, err := c.Write([]byte(strings.Repeat(ask, 8))) // more than socket buffers take
	require.NoError(t, err)
	// The goroutine of the connection ends by itself: Stop, below, would wait
	// for it. Nothing is read until the server has hung up.
	require.Eventually(t, func() bool {
		_, err := c.Write([]byte("x"))
		return err != nil
	}, time.Minute, 20*time.Millisecond)
}

func TestDefaultIsLoopback(t *testing.T) {
	require.Equal(t, "127.0.0.1:7331", rpc.Default().Address)
	require.NoError(t, rpc.Default().Validate())
}

func TestConfigErrorsNameKeyAndValue(t *testing.T) {
	for want, change := range map[string]func(*rpc.Config){
		`rpc.address is "7331", want host:port`:          func(c *rpc.Config) { c.Address = "7331" },
		"rpc.max_request_bytes is 3, want at least 1024": func(c *rpc.Config) { c.MaxRequestBytes = 3 },
		"rpc.read_timeout is 0s, want more than 0":       func(c *rpc.Config) { c.ReadTimeout = 0 },
		"rpc.write_timeout is -1s, want more than 0":     func(c *rpc.Config) { c.WriteTimeout = -time.Second },
	} {
		c := rpc.Default()
		change(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
	require.NoError(t, rpc.Config{}.Validate(), "no address turns the server off")
}

func TestPortInUse(t *testing.T) {
	w := newWorld(t)
	c := rpc.Default()
	c.Address = w.server.Address()
	second := rpc.New(rpc.Params{Config: c, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	require.EqualError(t, second.Start(t.Context()), "rpc.address: "+c.Address+" is already in use by another process")
	require.Empty(t, second.Address())
}

func TestAddressThatIsNotOurs(t *testing.T) {
	c := rpc.Default()
	c.Address = "192.0.2.1:7331"
	s := rpc.New(rpc.Params{Config: c, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	err := s.Start(t.Context())
	require.ErrorContains(t, err, "rpc.address: ")
	require.NotContains(t, err.Error(), "\n")
}

func TestOff(t *testing.T) {
	testutil.Leaks(t)
	c := rpc.Default()
	c.Address = ""
	s := rpc.New(rpc.Params{Config: c, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	require.NoError(t, s.Start(t.Context()))
	require.Empty(t, s.Address())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	cancel()
	require.NoError(t, <-done)
}

func TestPanicKeepsToItsRequest(t *testing.T) {
	w := newWorld(t)
	w.node.panics = "boom"
	r := w.get("/status")
	require.Equal(t, http.StatusInternalServerError, r.code)
	require.NotContains(t, string(r.body), "boom")
	w.node.panics = nil
	r = w.get("/status")
	require.Equal(t, http.StatusOK, r.code)
}

// askStatus asks beside the test and delivers what became of it.
func (w *world) askStatus() <-chan error {
	out := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url("/status"), nil)
		if err != nil {
			out <- err
			return
		}
		resp, err := w.http.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			err = errors.Join(err, resp.Body.Close())
		}
		out <- err
	}()
	return out
}

// Stop waits for requests under way, but not for ever; the request that hangs
// and the connection that says nothing are cut.
func TestInvariant10_StopsWithAHangingRequest(t *testing.T) {
	w := newWorld(t)
	w.node.enter, w.node.leave = make(chan struct{}), make(chan struct{})
	hung := w.askStatus()
	<-w.node.enter
	silent := w.dial()
	began := time.Now()
	require.NoError(t, w.stop())
	testutil.Took(t, "stop", began, 2*time.Second)
	require.Error(t, <-hung)
	_, err := silent.Read(make([]byte, 1))
	require.Error(t, err)
	close(w.node.leave)
}

// A request that is nearly done gets its answer although the node stops.
func TestStopLetsRequestsFinish(t *testing.T) {
	w := newStopped(t)
	w.server.SetGrace(time.Minute) // whatever else the machine does
	w.run()
	w.clients()
	w.node.enter, w.node.leave = make(chan struct{}), make(chan struct{})
	answered := w.askStatus()
	<-w.node.enter
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	require.Eventually(t, func() bool { // the listener goes first
		c, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url("/health/live"), nil)
		require.NoError(t, err)
		resp, err := w.h2.Do(c)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err != nil
	}, 30*time.Second, time.Millisecond)
	close(w.node.leave)
	require.NoError(t, <-answered)
	require.NoError(t, <-stopped)
}

func TestModuleServesFromStartToStop(t *testing.T) {
	testutil.Leaks(t)
	c := rpc.Default()
	c.Address = "127.0.0.1:0"
	node := newFakeNode()
	var s *rpc.Server
	app := fxtest.New(t, rpc.Module(), fx.Populate(&s), fx.Supply(zap.NewNop(), rpc.Params{
		Config: c, Network: node, Node: node, Metrics: prometheus.NewRegistry(), Log: zap.NewNop(),
	}))
	app.RequireStart()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/health/ready", nil)
	require.NoError(t, err)
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	began := time.Now()
	app.RequireStop()
	testutil.Took(t, "stop", began, 2*time.Second)
}
