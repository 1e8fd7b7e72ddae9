package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// stallTime is how long an answer may take before its connection may be closed
// to make room for another one.
const stallTime = 10 * time.Second

// Clients bounds what the clients of a Server make it hold.
type Clients struct {
	conns  *connTable
	bodies *bodyBudget
}

// NewClients returns the bounds of a config; no client is there yet.
func NewClients(c Config) *Clients {
	return &Clients{conns: newConnTable(c.MaxConnections), bodies: newBodyBudget(c.BodyBytes)}
}

// Load is what clients make a server hold.
type Load struct {
	Connections int
	Closed      uint64 // connections that gave way, since the start
	BodyBytes   int64  // of requests under way

	BodiesClosed uint64 // requests whose body gave way, since the start
}

// Load returns what clients make the server hold now.
func (c *Clients) Load() Load {
	return Load{Connections: c.conns.count(), Closed: c.conns.refused.Load(), BodyBytes: c.bodies.bytes(), BodiesClosed: c.bodies.gaveWay.Load()}
}

// connTable bounds the connections of a server. When a new one would exceed the
// bound, the connection that has gone longest without a whole request gives way:
// idle ones, and those of clients that do not finish a request. When all of them
// are being answered, the one that has been answered longest gives way, if that
// is longer than stallTime; else the new one is closed.
type connTable struct {
	most int

	mu      sync.Mutex
	conns   map[net.Conn]*connUse
	refused atomic.Uint64 // connections that were closed to keep the bound
}

// connUse is what one connection is used for.
type connUse struct {
	answering int       // whole requests whose answer is under way
	since     time.Time // of the last change between waiting and answering
}

func newConnTable(most int) *connTable {
	return &connTable{most: most, conns: make(map[net.Conn]*connUse)}
}

// track is the ConnState hook of the server.
func (t *connTable) track(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if old := t.add(c); old != nil {
			t.refused.Add(1)
			_ = old.Close() // the server sees it and forgets it
		}
	case http.StateClosed, http.StateHijacked:
		t.mu.Lock()
		delete(t.conns, c)
		t.mu.Unlock()
	case http.StateActive, http.StateIdle:
	}
}

// add takes a connection and returns the one to close, which may be the new one.
func (t *connTable) add(c net.Conn) (old net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if len(t.conns) >= t.most {
		if old = t.expendable(now); old == nil {
			return c
		}
		delete(t.conns, old)
	}
	t.conns[c] = &connUse{since: now}
	return old
}

// expendable returns the connection that gives way; nil when none does. The
// caller holds mu.
func (t *connTable) expendable(now time.Time) net.Conn {
	var waiting, stalled net.Conn
	var waits, stalls time.Time
	for c, use := range t.conns {
		switch {
		case use.answering == 0 && (waiting == nil || use.since.Before(waits)):
			waiting, waits = c, use.since
		case use.answering > 0 && now.Sub(use.since) >= stallTime && (stalled == nil || use.since.Before(stalls)):
			stalled, stalls = c, use.since
		}
	}
	if waiting != nil {
		return waiting
	}
	return stalled
}

// answering notes that a whole request of a connection is in hand; the returned
// function notes that it was answered.
func (t *connTable) answering(c net.Conn) (answered func()) {
	t.change(c, 1)
	return func() { t.change(c, -1) }
}

func (t *connTable) change(c net.Conn, by int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	use, ok := t.conns[c]
	if !ok {
		return // it gave way
	}
	if use.answering += by; use.answering == 0 || use.answering == by {
		use.since = time.Now()
	}
}

// count returns how many connections are open.
func (t *connTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

type connKey struct{}

// withConn is the ConnContext hook of the server.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// errBusy refuses a request body that does not fit beside those of others.
var errBusy = errors.New("the node is busy with other requests, try again later")

// bodyBudget bounds what the bodies of all requests under way take. A body takes up to
// 1.25 times its bytes while it is read, and counts as that. When there is no room, the
// body that has been on its way longest gives way, if that is longer than
// bodyPatience; else the new bytes are refused.
type bodyBudget struct {
	most    int64
	gaveWay atomic.Uint64

	mu     sync.Mutex
	held   int64
	coming map[*countedBody]struct{} // bodies of which a part is missing
}

// bodyPatience is how long a body is waited for whose room others could use.
const bodyPatience = time.Second

func newBodyBudget(most int) *bodyBudget {
	return &bodyBudget{most: int64(most), coming: make(map[*countedBody]struct{})}
}

// bytes returns what all bodies take.
func (b *bodyBudget) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// take counts n bytes read of a body, or returns false when there is no room for them
// or the body gave way.
func (b *bodyBudget) take(body *countedBody, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if body.gone || n == 0 {
		return !body.gone
	}
	taken := (5*int64(n) + 3) / 4
	for b.held+taken > b.most {
		slowest := b.slowest(body)
		if slowest == nil {
			return false
		}
		slowest.gone = true
		b.gaveWay.Add(1)
		b.forget(slowest)
		_ = slowest.conn.Close() // its reader sees it and ends
	}
	b.coming[body] = struct{}{}
	b.held += taken
	body.held += taken
	return true
}

// slowest returns the body that gives way to another one, nil when none does. The
// caller holds mu.
func (b *bodyBudget) slowest(but *countedBody) (slowest *countedBody) {
	for body := range b.coming {
		if body != but && time.Since(body.since) >= bodyPatience && (slowest == nil || body.since.Before(slowest.since)) {
			slowest = body
		}
	}
	return slowest
}

// forget gives the room of a body back. The caller holds mu.
func (b *bodyBudget) forget(body *countedBody) {
	delete(b.coming, body)
	b.held -= body.held
	body.held = 0
}

// admit counts connections as being answered once their whole request is in hand,
// and bounds the bytes of bodies.
func admit(next http.Handler, clients *Clients) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connKey{}).(net.Conn)
		body := &countedBody{
			ReadCloser: r.Body, conn: c, budget: clients.bodies, since: time.Now(),
			whole: func() func() { return clients.conns.answering(c) },
		}
		defer body.release()
		counted := *r // a copy: the server looks at the body of its own request to know whether it was read
		if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
			body.complete()
		} else {
			counted.Body = body
		}
		next.ServeHTTP(w, &counted)
	})
}

// countedBody is the body of one request. It is used by one goroutine at a time.
type countedBody struct {
	io.ReadCloser

	conn     net.Conn
	budget   *bodyBudget
	since    time.Time // of the header
	whole    func() (answered func())
	answered func() // nil before the whole body was read

	held int64 // guarded by budget.mu
	gone bool  // it gave way; guarded by budget.mu
}

// Read implements io.Reader. It fails with errBusy when the bodies of all
// requests take too much.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.budget.take(b, n) {
		return 0, errBusy
	}
	if errors.Is(err, io.EOF) {
		b.complete()
	}
	return n, err
}

func (b *countedBody) complete() {
	if b.answered != nil {
		return
	}
	b.answered = b.whole()
	b.budget.mu.Lock()
	defer b.budget.mu.Unlock()
	delete(b.budget.coming, b)
}

func (b *countedBody) release() {
	b.budget.mu.Lock()
	b.budget.forget(b)
	b.budget.mu.Unlock()
	if b.answered != nil {
		b.answered()
	}
}
