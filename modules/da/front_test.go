package da

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// front is another address of a DA node, with troubles of its own.
type front struct {
	*httptest.Server
	mu     sync.Mutex
	calls  map[string]int
	tamper func(method string, body []byte) []byte // nil closes the connection instead
	refuse map[string]string                       // answers by method, instead of the server's
}

// newFront starts a front of a real server.
func newFront(t *testing.T, target string) *front {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	f := &front{calls: map[string]int{}, refuse: map[string]string{}}
	proxy := &httputil.ReverseProxy{
		ErrorLog: zap.NewStdLog(zap.NewNop()),
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ModifyResponse: func(r *http.Response) error {
			f.mu.Lock()
			tamper := f.tamper
			f.mu.Unlock()
			if tamper == nil || r.StatusCode == http.StatusSwitchingProtocols {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			if body = tamper(r.Request.Header.Get("Method"), body); body == nil {
				panic(http.ErrAbortHandler)
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Del("Content-Length")
			return nil
		},
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		_, method, _ := strings.Cut(string(raw), `"method":"`)
		method, _, _ = strings.Cut(method, `"`)
		f.mu.Lock()
		f.calls[method]++
		refusal, refused := f.refuse[method]
		f.mu.Unlock()
		if refused {
			_, _ = io.WriteString(w, refusal)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		r.Header.Set("Method", method)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.kill)
	return f
}

// kill closes the port and all connections.
func (f *front) kill() {
	f.CloseClientConnections()
	f.Close()
}

// set changes what the front does to answers.
func (f *front) set(tamper func(method string, body []byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tamper = tamper
}

func (f *front) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// poolOf returns a pool of the addresses, and what it logs.
func poolOf(t *testing.T, addresses ...string) (*Pool, *observer.ObservedLogs) {
	t.Helper()
	cfg := testConfig("")
	cfg.Addresses = addresses
	core, logs := observer.New(zapcore.InfoLevel)
	p, err := NewPool(Params{Config: cfg, Log: zap.New(core)})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p, logs
}

// reads returns the index of the endpoint that is read from.
func (p *Pool) reads() int {
	for i, e := range p.Endpoints() {
		if e.Reading {
			return i
		}
	}
	return -1
}

func (p *Pool) posts() int {
	for i, e := range p.Endpoints() {
		if e.Posting {
			return i
		}
	}
	return -1
}
