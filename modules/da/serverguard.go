package da

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/filecoin-project/go-jsonrpc/auth"
)

// errBadToken makes the answer 401 with an empty body.
var errBadToken = errors.New("token is not the configured one")

// authorize gives requests with the right token their permissions, refuses those
// with a wrong one, and lets those without one pass: methods refuse them by name.
func (s *Server) authorize(next http.Handler) http.Handler {
	want := []byte(s.cfg.AuthToken)
	return &auth.Handler{
		Verify: func(_ context.Context, token string) ([]auth.Permission, error) {
			if len(want) > 0 && subtle.ConstantTimeCompare([]byte(token), want) != 1 {
				return nil, errBadToken
			}
			return []auth.Permission{permRead, permWrite}, nil
		},
		Next: next.ServeHTTP,
	}
}

// guard stands before JSON-RPC: outages first, then the limit of concurrent requests,
// of which one counts once all of it is there.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBytes+1)) // what is longer JSON-RPC refuses
		if err != nil {
			http.Error(w, "the request has no end", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !s.active.enter() {
			http.Error(w, "server busy, try again later", http.StatusServiceUnavailable)
			return
		}
		defer s.active.leave()
		if s.unanswered(r) {
			cut(w)
			return
		}
		fate := new(atomic.Bool)
		ctx := context.WithValue(r.Context(), fateKey{}, fate)
		if strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade") {
			s.serveSocket(w, r.WithContext(ctx), next)
			return
		}
		next.ServeHTTP(&fatedWriter{ResponseWriter: w, lost: fate}, r.WithContext(ctx))
		if fate.Load() {
			cut(w)
		}
	})
}

// unanswered tells whether a request is to end without an answer; it returns
// when the outage is over or the client is gone.
func (s *Server) unanswered(r *http.Request) bool {
	if err := s.faults.waitHang(r.Context()); err != nil {
		return true
	}
	outage, _ := s.faults.currentOutage()
	return outage != OutageNone
}

// serveSocket serves a WebSocket connection until an outage ends it.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request, next http.Handler) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		for {
			outage, changed := s.faults.currentOutage()
			if outage == OutageDrop || outage == OutageRefuse {
				cancel()
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	next.ServeHTTP(w, r.WithContext(ctx))
}

// cut closes the connection of a request without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the connection is gone already
	}
	_ = conn.Close() // gone either way
}

// fateKey finds the fate of a request in its context: true loses the answer.
type fateKey struct{}

// loseReply marks the request's answer as lost. Over WebSocket answers share a
// connection, so there the call is answered all the same.
func loseReply(ctx context.Context) {
	if fate, ok := ctx.Value(fateKey{}).(*atomic.Bool); ok {
		fate.Store(true)
	}
}

// fatedWriter swallows a lost answer.
type fatedWriter struct {
	http.ResponseWriter
	lost *atomic.Bool
}

// WriteHeader writes nothing when the answer is lost.
func (w *fatedWriter) WriteHeader(status int) {
	if !w.lost.Load() {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write pretends to write when the answer is lost.
func (w *fatedWriter) Write(p []byte) (int, error) {
	if w.lost.Load() {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets the real writer be found.
func (w *fatedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// inflight counts requests that are being served.
type inflight struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed at zero, for those who wait
}

// enter is false over the limit.
func (f *inflight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n >= maxConcurrent {
		return false
	}
	f.n++
	return true
}

func (f *inflight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n == 0 && f.zero != nil {
		close(f.zero)
		f.zero = nil
	}
}

// drained waits until nothing is in flight.
func (f *inflight) drained(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.zero == nil {
		f.zero = make(chan struct{})
	}
	zero := f.zero
	f.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
