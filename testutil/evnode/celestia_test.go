package evnode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/celestiaorg/go-square/v3/inclusion"
	"github.com/celestiaorg/go-square/v3/share"
	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// celestia answers as a celestia-node v0.31 does (spec page, sections 1 and 2),
// written from its frames, not with its library. It makes a block per pace.
type celestia struct {
	t     *testing.T
	token string // may write
	// readToken may read alone.
	readToken string
	maxTx     int // bytes; what is over it is refused with code 21 and no text
	url       string

	mu      sync.Mutex
	frozen  bool // the validator is dead: no blocks, submissions hang
	head    uint64
	times   []time.Time // by height
	blobs   map[uint64][]celBlob
	pending []*celTx
	changed chan struct{}
	faults  map[string][]fault // by method, used up one by one
	skip    int                // events not to send
	sockets map[*websocket.Conn]struct{}
	pongs   int
	calls   map[string]int
	// name is the chain id, tail the lowest height it keeps, balance what its account
	// holds in utia.
	name    string
	tail    uint64
	balance uint64
}

type celBlob struct {
	Namespace    []byte `json:"namespace"`
	Data         []byte `json:"data"`
	ShareVersion uint32 `json:"share_version"`
	Commitment   []byte `json:"commitment"`
	Index        int    `json:"index"`
}

// rights are what a token may do.
type rights int

const (
	mayNothing rights = iota
	mayRead
	mayWrite
)

// celTx is a submission on its way into a block; nobody can call it back.
type celTx struct {
	blobs  []celBlob
	landed chan uint64
}

// fault is something that happens to one call instead of its answer, or after it
// was carried out.
type fault struct {
	status int
	body   string // as is
	text   string // message of an application error
	lose   bool   // carry out, then break the connection
}

// The codes of JSON-RPC a real node uses.
const (
	codeApplication = 1
	codePanic       = 0
	codeParse       = -32700
	codeMethod      = -32601
	codeParams      = -32602
)

// rpcError is an error with the HTTP status it comes with.
type rpcError struct {
	code    int
	message string
}

func (f *rpcError) Error() string { return f.message }

func refuse(format string, args ...any) *rpcError {
	return &rpcError{codeApplication, fmt.Sprintf(format, args...)}
}

func newCelestia(t *testing.T) *celestia {
	t.Helper()
	c := &celestia{
		t: t, token: "eyJhbGciOiJIUzI1NiJ9.token", readToken: "eyJhbGciOiJIUzI1NiJ9.read", name: "private", tail: 1, balance: 5_000_000, maxTx: 8 << 20, head: 1, times: []time.Time{{}, now()}, blobs: map[uint64][]celBlob{},
		changed: make(chan struct{}), faults: map[string][]fault{}, sockets: map[*websocket.Conn]struct{}{}, calls: map[string]int{},
	}
	server := httptest.NewServer(c)
	c.url = server.URL
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { c.produce(ctx) })
	t.Cleanup(func() {
		cancel()
		c.hangUp()
		server.CloseClientConnections()
		server.Close()
		wg.Wait()
	})
	return c
}

// produce makes blocks.
func (c *celestia) produce(ctx context.Context) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		c.set(func() {
			if c.frozen {
				return
			}
			c.head++
			c.times = append(c.times, now())
			for _, tx := range c.pending {
				for _, b := range tx.blobs {
					b.Index = 2*len(c.blobs[c.head]) + 16
					c.blobs[c.head] = append(c.blobs[c.head], b)
				}
				tx.landed <- c.head
			}
			c.pending = nil
			close(c.changed)
			c.changed = make(chan struct{})
		})
	}
}

func (c *celestia) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// fail makes the next calls of a method go wrong.
func (c *celestia) fail(method string, faults ...fault) {
	c.set(func() { c.faults[method] = append(c.faults[method], faults...) })
}

func (c *celestia) takeFault(method string) (f fault, ok bool) {
	c.set(func() {
		c.calls[method]++
		if list := c.faults[method]; len(list) > 0 {
			f, ok = list[0], true
			c.faults[method] = list[1:]
		}
	})
	return f, ok
}

func (c *celestia) count(method string) (n int) {
	c.set(func() { n = c.calls[method] })
	return n
}

type celRequest struct {
	JSONRPC string            `json:"jsonrpc"`
	ID      json.RawMessage   `json:"id"`
	Method  string            `json:"method"`
	Params  []json.RawMessage `json:"params"`
}

// ServeHTTP implements http.Handler.
func (c *celestia) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, given := r.Header.Get("Authorization"), true
	switch {
	case token == "" && r.URL.Query().Get("token") != "":
		token = r.URL.Query().Get("token")
	case token == "":
		given = false
	case !strings.HasPrefix(token, "Bearer "):
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var may rights
	switch strings.TrimPrefix(token, "Bearer ") {
	case c.token:
		may = mayWrite
	case c.readToken:
		may = mayRead
	}
	if !given {
		may = mayNothing
	} else if may == mayNothing {
		w.WriteHeader(http.StatusUnauthorized) // with an empty body
		return
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		c.serveSocket(w, r, may)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	var req celRequest
	var batch []celRequest
	switch {
	case err == nil && bytes.HasPrefix(raw, []byte("[")):
		err = json.Unmarshal(raw, &batch)
	case err == nil:
		err = json.Unmarshal(raw, &req)
	}
	switch {
	case err != nil:
		c.answer(w, nil, nil, &rpcError{codeParse, "unmarshaling request: " + err.Error()})
		return
	case len(batch) > 0:
		c.answerBatch(w, r, batch, may)
		return
	}
	if f, ok := c.takeFault(req.Method); ok {
		switch {
		case f.status != 0:
			w.WriteHeader(f.status)
			_, _ = io.WriteString(w, f.body)
			return
		case f.text != "":
			c.answer(w, req.ID, nil, refuse("%s", f.text))
			return
		case f.lose:
			_, _ = c.call(r.Context(), req, may)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return
		}
	}
	result, failure := c.call(r.Context(), req, may)
	c.answer(w, req.ID, result, failure)
}

// answerBatch carries out calls one after the other.
func (c *celestia) answerBatch(w http.ResponseWriter, r *http.Request, batch []celRequest, may rights) {
	answers := make([]string, len(batch))
	for i, req := range batch {
		one := httptest.NewRecorder()
		if f, ok := c.takeFault(req.Method); ok && f.text != "" {
			c.answer(one, req.ID, nil, refuse("%s", f.text))
		} else {
			result, failure := c.call(r.Context(), req, may)
			c.answer(one, req.ID, result, failure)
		}
		answers[i] = strings.TrimSpace(one.Body.String())
	}
	_, _ = io.WriteString(w, "["+strings.Join(answers, ",")+"]\n")
}

// answer writes the keys in the order a real node does over HTTP.
func (c *celestia) answer(w http.ResponseWriter, id json.RawMessage, result any, failure *rpcError) {
	if id == nil {
		id = json.RawMessage("null")
	}
	if failure != nil {
		if failure.code != codeApplication {
			w.WriteHeader(http.StatusInternalServerError)
		}
		message, _ := json.Marshal(failure.message)
		_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":%s},"id":%s,"jsonrpc":"2.0"}`+"\n", failure.code, message, id)
		return
	}
	raw, err := json.Marshal(result)
	if err != nil {
		c.t.Error(err)
	}
	_, _ = fmt.Fprintf(w, `{"id":%s,"jsonrpc":"2.0","result":%s}`+"\n", id, raw)
}

func (c *celestia) call(ctx context.Context, req celRequest, may rights) (any, *rpcError) {
	params := map[string]int{"blob.Submit": 2, "blob.GetAll": 2, "header.NetworkHead": 0, "header.GetByHeight": 1, "header.Tail": 0, "state.Balance": 0}
	want, ok := params[req.Method]
	_, name, _ := strings.Cut(req.Method, ".")
	switch {
	case req.Method == "blob.Subscribe" || req.Method == "header.Subscribe":
		return nil, &rpcError{codeMethod, "method '" + req.Method + "' not supported in this mode (no out channel support)"}
	case !ok:
		return nil, &rpcError{codeMethod, "method '" + req.Method + "' not found"}
	case len(req.Params) != want:
		return nil, &rpcError{codeParams, fmt.Sprintf("wrong param count (method '%s'): %d != %d", req.Method, len(req.Params), want)}
	case may < mayWrite && name == "Submit":
		return nil, refuse("missing permission to invoke '%s' (need 'write')", name)
	case may < mayRead:
		return nil, refuse("missing permission to invoke '%s' (need 'read')", name)
	}
	switch req.Method {
	case "blob.Submit":
		return c.submit(ctx, req)
	case "blob.GetAll":
		return c.getAll(ctx, req)
	case "header.GetByHeight":
		var height uint64
		if err := json.Unmarshal(req.Params[0], &height); err != nil {
			return nil, &rpcError{codeParse, err.Error()}
		}
		if failure := c.reach(ctx, height); failure != nil {
			return nil, failure
		}
		return c.extended(height), nil
	case "header.Tail":
		return c.extended(c.tail), nil
	case "state.Balance":
		return map[string]string{"denom": "utia", "amount": strconv.FormatUint(c.balance, 10)}, nil
	default:
		var head uint64
		c.set(func() { head = c.head })
		return c.extended(head), nil
	}
}

// submit takes blobs strictly as a real node does, and blocks until they are in
// a block, whether the caller still waits or not.
func (c *celestia) submit(ctx context.Context, req celRequest) (any, *rpcError) {
	var in []celBlob
	if err := json.Unmarshal(req.Params[0], &in); err != nil {
		return nil, &rpcError{codeParse, "unmarshaling params for 'blob.Submit': " + err.Error()}
	}
	if options := strings.TrimSpace(string(req.Params[1])); options == "null" {
		return nil, &rpcError{codePanic, "fatal error calling 'blob.Submit': runtime error: invalid memory address or nil pointer dereference"}
	}
	if len(in) == 0 {
		return nil, refuse("state: no blobs provided")
	}
	size := 350
	for i, b := range in {
		switch {
		case len(b.Namespace) != 29:
			return nil, &rpcError{codeParse, fmt.Sprintf("invalid namespace length: %d. Must be 29 bytes", len(b.Namespace))}
		case len(b.Data) == 0:
			return nil, &rpcError{codeParse, "data can not be empty"}
		}
		commitment, err := commit(b)
		if err != nil {
			return nil, &rpcError{codeParse, err.Error()}
		}
		if !slices.Equal(commitment, b.Commitment) || b.Index != -1 {
			c.t.Errorf("blob %d of a submission: commitment %x, want %x; index %d, want -1", i, b.Commitment, commitment, b.Index)
		}
		in[i].Commitment = commitment
		size += 120 + len(b.Data)
	}
	if size > c.maxTx {
		hash := sha256.Sum256(req.Params[0])
		return nil, refuse("broadcast tx error: hash %s error:  code: 21", strings.ToUpper(hex.EncodeToString(hash[:])))
	}
	tx := &celTx{blobs: in, landed: make(chan uint64, 1)}
	c.set(func() { c.pending = append(c.pending, tx) })
	select {
	case height := <-tx.landed:
		return height, nil
	case <-ctx.Done():
		return nil, refuse("context canceled")
	}
}

// reach waits for the height right above the head and for no other.
func (c *celestia) reach(ctx context.Context, height uint64) *rpcError {
	if height == 0 {
		return refuse("height is equal to 0")
	}
	for {
		var head uint64
		var changed chan struct{}
		c.set(func() { head, changed = c.head, c.changed })
		switch {
		case height <= head:
			return nil
		case height > head+1:
			return refuse("header: given height is from the future: networkHeight: %d, requestedHeight: %d", head, height)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return refuse("context canceled")
		}
	}
}

// getAll answers null when there is nothing.
func (c *celestia) getAll(ctx context.Context, req celRequest) (any, *rpcError) {
	var height uint64
	var namespaces [][]byte
	if err := json.Unmarshal(req.Params[0], &height); err != nil {
		return nil, &rpcError{codeParse, err.Error()}
	}
	if err := json.Unmarshal(req.Params[1], &namespaces); err != nil {
		return nil, &rpcError{codeParse, err.Error()}
	}
	if failure := c.reach(ctx, height); failure != nil {
		return nil, failure
	}
	var out []celBlob
	c.set(func() {
		for _, ns := range namespaces {
			for _, b := range c.blobs[height] {
				if slices.Equal(b.Namespace, ns) {
					out = append(out, b)
				}
			}
		}
	})
	return out, nil // a nil slice is null
}

// extended is an ExtendedHeader: heights are strings, and none is at the top.
func (c *celestia) extended(height uint64) json.RawMessage {
	var at time.Time
	c.set(func() { at = c.times[height] })
	return fmt.Appendf(nil, `{"header":{"version":{"block":"11","app":"9"},"chain_id":%q,"height":"%d","time":%q,`+
		`"last_block_id":{"hash":"%X","parts":{"total":1,"hash":""}},"data_hash":"%X"},"commit":{"height":"%d","round":0,`+
		`"block_id":{"hash":"AB","parts":{"total":1,"hash":"CD"}},"signatures":[]},"validator_set":{"validators":[],"proposer":null},`+
		`"dah":{"row_roots":["AAAA"],"column_roots":["AAAA"]}}`,
		c.name, height, at.Format(time.RFC3339Nano), sum([]byte("last")), sum([]byte("data")), height)
}

// posted returns all blobs of a namespace.
func (c *celestia) posted(ns []byte) (out [][]byte) {
	c.set(func() {
		for _, blobs := range c.blobs {
			for _, b := range blobs {
				if slices.Equal(b.Namespace, ns) {
					out = append(out, b.Data)
				}
			}
		}
	})
	return out
}

// submitted returns the number of blobs on it.
func (c *celestia) submitted() (n int) {
	c.set(func() {
		for _, blobs := range c.blobs {
			n += len(blobs)
		}
	})
	return n
}

// commit is the commitment of a blob by Celestia's own library.
func commit(b celBlob) ([]byte, error) {
	ns, err := share.NewNamespaceFromBytes(b.Namespace)
	if err != nil {
		return nil, err
	}
	blob, err := share.NewV0Blob(ns, b.Data)
	if err != nil {
		return nil, err
	}
	return inclusion.CreateCommitment(blob, merkle, 64)
}

func merkle(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		return sum()
	case 1:
		return sum([]byte{0}, leaves[0])
	}
	half := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	return sum([]byte{1}, merkle(leaves[:half]), merkle(leaves[half:]))
}

// The double is what the client of ev-node sees: it can submit, read and
// subscribe, but not decode a header.
func TestCelestiaDouble(t *testing.T) {
	t.Parallel()
	c := newCelestia(t)
	c.token = ""
	client := dialHTTP(t, c.url+"/?token=x", "x", c)
	_, err := client.Header.NetworkHead(t.Context())
	require.ErrorContains(t, err, "cannot unmarshal string")
	ns, _ := namespaces("a", "b")
	blobs, err := client.Blob.GetAll(t.Context(), 1, [][]byte{ns})
	require.NoError(t, err)
	require.Empty(t, blobs)
	_, err = client.Blob.GetAll(t.Context(), 1_000_000, [][]byte{ns})
	require.ErrorContains(t, err, "given height is from the future")
}
