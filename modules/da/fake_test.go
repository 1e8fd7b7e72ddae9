package da

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/tandem-node/tandem/testutil"
)

func TestMain(m *testing.M) {
	testutil.LeaksMain(m,
		// Started by a package of go-jsonrpc when it is imported.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		// Lives for 30 s after a database was closed.
		goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"),
		// A frame that arrives while go-jsonrpc gives a connection up is never taken.
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"),
	)
}

// cannedServer answers every call with one canned answer and keeps the requests.
type cannedServer struct {
	*httptest.Server
	mu     sync.Mutex
	bodies [][]byte
	header http.Header
	answer func(method string, w http.ResponseWriter, r *http.Request)
}

func newEndpoint(t *testing.T, answer func(method string, w http.ResponseWriter, r *http.Request)) *cannedServer {
	t.Helper()
	e := &cannedServer{answer: answer}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var req struct {
			Method string `json:"method"`
		}
		_ = json.Unmarshal(raw, &req)
		e.mu.Lock()
		e.bodies = append(e.bodies, raw)
		e.header = r.Header.Clone()
		e.mu.Unlock()
		e.answer(req.Method, w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *cannedServer) last() (string, http.Header) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.bodies[len(e.bodies)-1]), e.header
}

// canned answers status and body, whatever is asked.
func canned(status int, body string) func(string, http.ResponseWriter, *http.Request) {
	return func(_ string, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func testConfig(address string) Config {
	cfg := Default()
	cfg.Addresses = []string{address}
	return cfg
}

func newTestClient(t *testing.T, cfg Config) *Celestia {
	t.Helper()
	c, err := NewCelestia(cfg.Addresses[0], cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func testServerConfig() ServerConfig {
	cfg := DefaultServer()
	cfg.Listen = "127.0.0.1:0"
	cfg.BlockTime = 10 * time.Millisecond
	return cfg
}

// startServer runs a server until the test ends; stop ends it earlier.
func startServer(t *testing.T, cfg ServerConfig) (s *Server, stop func()) {
	t.Helper()
	s, err := NewServer(cfg, zaptest.NewLogger(t, zaptest.Level(zapWarn)))
	require.NoError(t, err)
	require.NoError(t, s.Listen(t.Context()))
	ctx, cancel := newCancel(t)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(time.Minute):
			t.Error("server did not stop")
		}
	})
	t.Cleanup(stop)
	return s, stop
}
