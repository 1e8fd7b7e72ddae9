package da

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
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

// maxHeaderBytes bounds the header of an answer.
const maxHeaderBytes = 64 << 10

// newClient makes an HTTP client that follows no redirects: they would take the
// token and what is posted to an address nobody configured. It speaks HTTP/1.1
// alone, so that each answer has a connection of its own, and one that is not read
// holds nothing but what the kernel buffers and delays no other.
func newClient() *http.Client {
	return &http.Client{
		Transport:     newTransport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// call makes one call and reads its result with a function.
func call[T any](ctx context.Context, c *Celestia, req request, result func(*reply) T) (T, error) {
	var ans answer[T]
	err := c.send(ctx, req, c.envelope(req), func(r *reply) error {
		// Errors come with any status, so the body counts and not the status.
		if r.peek() != '{' {
			return plainError(req, r.status, r.rest())
		}
		ans = readAnswer(r.scanner, func() T { return result(r) })
		if r.end(); r.err != nil {
			return nil //nolint:nilerr // send looks at it
		}
		if ans.err != nil {
			return newRPCError(req.method, ans.err.code, ans.err.message, req.submit)
		}
		if r.status != http.StatusOK {
			return plainError(req, r.status, "")
		}
		return nil
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return ans.result, nil
}

// openOutcome is the class of a call whose answer is missing or unreadable.
func openOutcome(req request) error {
	if req.submit {
		return ErrUnknown
	}
	return ErrUnavailable
}

// reply is an answer that is being read.
type reply struct {
	*scanner

	status int
	room   *portion
}

// send posts a call, or a list of them, and has the answer read within its
// deadline. What read leaves in the scanner's err is an error of the call.
func (c *Celestia) send(ctx context.Context, req request, call []byte, read func(*reply) error) error {
	c.calls.Add(1)
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	clock := newPace(min(req.timeout, c.cfg.RequestTimeout), c.cfg.RequestTimeout, cancel)
	defer clock.stop()
	// Written from the transport's goroutine.
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(callCtx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	hreq, err := http.NewRequestWithContext(traced, http.MethodPost, c.httpURL, bytes.NewReader(call))
	if err != nil {
		return fmt.Errorf("%s: %w", req.method, err)
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
		return transportError(ctx, failure{req: req, sent: sent.Load(), late: clock.late(), err: err})
	}
	resp, err := c.client.Do(hreq)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to the end or given up; nothing to learn here
	r := &reply{
		scanner: newScanner(paced{resp.Body, clock}, c.cfg.MaxResponseBytes), status: resp.StatusCode,
		room: &portion{of: c.answers, most: int(c.cfg.MaxResponseBytes), ctx: callCtx, patience: req.timeout, waiting: clock.pause},
	}
	defer r.room.release()
	if err := read(r); r.err == nil {
		return err
	}
	if err := unread(req, r); err != nil {
		return err
	}
	return fail(r.err)
}

// unread is the error of an answer that came and cannot be used, nil when it did
// not come.
func unread(req request, r *reply) error {
	switch {
	case errors.Is(r.err, errSyntax) && r.status != http.StatusOK:
		return plainError(req, r.status, "")
	case errors.Is(r.err, errSyntax):
		return fmt.Errorf("%s: malformed answer (HTTP %d): %w: %w", req.method, r.status, openOutcome(req), r.err)
	case errors.Is(r.err, errLong):
		return fmt.Errorf("%s: %w: %w, as sent or as kept: da.max_response_bytes is %d", req.method, openOutcome(req), r.err, r.room.most)
	case errors.Is(r.err, errRoom):
		return fmt.Errorf("%s: %w: %w: da.answer_bytes bounds all answers", req.method, openOutcome(req), r.err)
	}
	return nil
}

// envelope is the JSON-RPC request.
func (c *Celestia) envelope(req request) []byte {
	return appendCall(make([]byte, 0, len(req.params)+len(req.method)+64), c.nextID.Add(1), req.method, req.params)
}

// failure is why there is no answer.
type failure struct {
	req  request
	sent bool
	late bool // the call's own deadline has passed
	err  error
}

// errTimeout marks a call's own deadline, as opposed to the caller's.
var errTimeout = errors.New("no answer in time")

// transportError says why there is no answer. ctx is the caller's context; when
// it ended, its error stays visible, and a submission that had left is open.
func transportError(ctx context.Context, f failure) error {
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
	if f.late {
		return fmt.Errorf("%s: %w: %w (%s to begin with, then %d bytes a second)", f.req.method, class, errTimeout, f.req.timeout, leastRate)
	}
	// The URL may hold a token: keep it out of errors.
	err := f.err
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return fmt.Errorf("%s: %w: %w", f.req.method, class, err)
}

// busyText is what an endpoint answers before it has looked at a request.
const busyText = "server busy"

// plainError reads an answer which is no JSON-RPC: an HTTP server or proxy in
// front of the endpoint refused.
func plainError(req request, status int, text string) error {
	text = clip(text)
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s: %w (HTTP %d): check da.auth_token, a token with read and write permission of that endpoint",
			req.method, ErrAuth, status)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w (HTTP %d): %s", req.method, ErrBusy, status, text)
	case http.StatusServiceUnavailable:
		if req.submit && !strings.Contains(text, busyText) { // a proxy that gave up may have passed it on
			return fmt.Errorf("%s: %w (HTTP %d): %q", req.method, ErrUnknown, status, text)
		}
		return fmt.Errorf("%s: %w (HTTP %d): %s", req.method, ErrBusy, status, text)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return fmt.Errorf("%s: %w (HTTP %d): it redirects to another address, which is not followed: "+
			"set da.address to the address that answers itself", req.method, ErrUnavailable, status)
	case http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s: %w (HTTP %d)", req.method, ErrTooLarge, status)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Errorf("%s: %w (HTTP %d): no JSON-RPC there, check da.address", req.method, ErrUnavailable, status)
	default:
		return fmt.Errorf("%s: %w (HTTP %d): not a JSON-RPC answer: %q", req.method, openOutcome(req), status, text)
	}
}
