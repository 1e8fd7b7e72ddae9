package da

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// request is one JSON-RPC call.
type request struct {
	method  string
	params  []byte // a JSON array
	timeout time.Duration
	// submit marks the one call that changes something: it is never repeated by
	// the transport, and when its answer is missing the outcome is open.
	submit bool
}

// Bounds of the connection itself.
const (
	dialTimeout = 5 * time.Second
	keepAlive   = 15 * time.Second
	idleTimeout = 90 * time.Second
	// idleConns is how many calls may be made over and over without opening new
	// connections; the reader of heights makes up to 128 at once.
	idleConns = 160
)

func newTransport(http2 bool) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConns:        idleConns,
		MaxIdleConnsPerHost: idleConns,
		IdleConnTimeout:     idleTimeout,
		ForceAttemptHTTP2:   http2,
		DisableCompression:  true,
	}
}

// call makes one call and decodes its result. A null result is T's zero value.
func call[T any](ctx context.Context, c *Celestia, req request) (T, error) {
	var ans answer[T]
	body, status, err := c.send(ctx, req, c.envelope(req))
	if err != nil {
		return ans.Result, err
	}
	defer body.done()
	// Errors come with any status, so the body counts and not the status.
	raw := bytes.TrimSpace(body.Bytes())
	if len(raw) == 0 || raw[0] != '{' {
		return ans.Result, plainError(req, status, raw)
	}
	if err := json.Unmarshal(raw, &ans); err != nil {
		return ans.Result, fmt.Errorf("%s: malformed answer (HTTP %d): %w: %w", req.method, status, openOutcome(req), err)
	}
	if ans.Error != nil {
		return ans.Result, newRPCError(req.method, ans.Error.Code, ans.Error.Message, req.submit)
	}
	if status != http.StatusOK {
		return ans.Result, plainError(req, status, raw)
	}
	return ans.Result, nil
}

// openOutcome is the class of a call whose answer is missing or unreadable.
func openOutcome(req request) error {
	if req.submit {
		return ErrUnknown
	}
	return ErrUnavailable
}

// send posts a call, or a list of them, and reads the whole answer, within its
// deadline. The caller is done with the body when it is decoded.
func (c *Celestia) send(ctx context.Context, req request, call []byte) (*body, int, error) {
	c.calls.Add(1)
	timeout := min(req.timeout, c.cfg.RequestTimeout)
	callCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// Written from the transport's goroutine.
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(callCtx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	hreq, err := http.NewRequestWithContext(traced, http.MethodPost, c.httpURL, bytes.NewReader(call))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", req.method, err)
	}
	hreq.Header.Set("Content-Type", "application/json")
	if c.cfg.AuthToken != "" {
		hreq.Header.Set("Authorization", "Bearer "+c.cfg.AuthToken)
	}
	if !req.submit {
		// Not sent, but lets the transport repeat a read that met a connection
		// the endpoint had just closed.
		hreq.Header["Idempotency-Key"] = []string{}
	}
	fail := func(err error) error {
		c.failures.Add(1)
		return transportError(ctx, callCtx, failure{req: req, sent: sent.Load(), timeout: timeout, err: err})
	}
	resp, err := c.client.Do(hreq)
	if err != nil {
		return nil, 0, fail(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to the end or given up; nothing to learn here
	body := c.body()
	n, err := body.ReadFrom(io.LimitReader(&allowed{ctx: callCtx, from: resp.Body, share: &body.share}, c.cfg.MaxResponseBytes+1))
	if err != nil {
		body.done()
		return nil, 0, fail(err)
	}
	if n > c.cfg.MaxResponseBytes {
		body.done()
		return nil, 0, fmt.Errorf("%s: %w: the answer is over da.max_response_bytes (%d)",
			req.method, openOutcome(req), c.cfg.MaxResponseBytes)
	}
	return body, resp.StatusCode, nil
}

// envelope is the JSON-RPC request.
func (c *Celestia) envelope(req request) []byte {
	return appendCall(make([]byte, 0, len(req.params)+len(req.method)+64), c.nextID.Add(1), req.method, req.params)
}

type failure struct {
	req     request
	sent    bool
	timeout time.Duration
	err     error
}

// errTimeout marks a call's own deadline, as opposed to the caller's.
var errTimeout = errors.New("no answer in time")

// transportError says why there is no answer. ctx is the caller's context; when
// it ended, its error stays visible, and a submission that had left is open.
func transportError(ctx, callCtx context.Context, f failure) error {
	class := ErrUnavailable
	if f.req.submit && f.sent {
		class = ErrUnknown
	}
	if err := ctx.Err(); err != nil {
		if class == ErrUnknown { //nolint:errorlint // set a few lines above
			return fmt.Errorf("%s: %w: %w", f.req.method, class, err)
		}
		return fmt.Errorf("%s: %w", f.req.method, err)
	}
	if callCtx.Err() != nil {
		return fmt.Errorf("%s: %w: %w (%s)", f.req.method, class, errTimeout, f.timeout)
	}
	// The URL may hold a token: keep it out of errors.
	err := f.err
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return fmt.Errorf("%s: %w: %w", f.req.method, class, err)
}

// plainError reads an answer which is no JSON-RPC: an HTTP server or proxy in
// front of the endpoint refused.
func plainError(req request, status int, body []byte) error {
	text := clip(string(body))
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s: %w (HTTP %d): check da.auth_token, a token with read and write permission of that endpoint",
			req.method, ErrAuth, status)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w (HTTP %d): %s", req.method, ErrBusy, status, text)
	case http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s: %w (HTTP %d)", req.method, ErrTooLarge, status)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Errorf("%s: %w (HTTP %d): no JSON-RPC there, check da.address", req.method, ErrUnavailable, status)
	default:
		return fmt.Errorf("%s: %w (HTTP %d): not a JSON-RPC answer: %q", req.method, openOutcome(req), status, text)
	}
}

// maxPooled is the largest answer whose buffer is kept for the next.
const maxPooled = 4 << 20

// body is an answer as it came.
type body struct {
	*bytes.Buffer

	share portion
	pool  *sync.Pool
}

func (c *Celestia) body() *body {
	b := &body{share: portion{of: c.answers}, pool: &c.buffers}
	var ok bool
	if b.Buffer, ok = c.buffers.Get().(*bytes.Buffer); ok {
		b.Reset()
	} else {
		b.Buffer = new(bytes.Buffer)
	}
	return b
}

// done gives back what the answer took. Nobody reads it any more.
func (b *body) done() {
	if b.Cap() <= maxPooled {
		b.pool.Put(b.Buffer)
	}
	b.share.release()
}
