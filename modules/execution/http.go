package execution

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"go.uber.org/zap"
)

// stateReader is what the endpoints need of an executor's state. Both methods
// may be called while blocks are executed.
type stateReader interface {
	lookup(key []byte) (value []byte, found bool, err error)
	list(ctx context.Context, r listRange, fn func(key, value []byte) error) error
}

// listRange selects entries in bytewise key order.
type listRange struct {
	after []byte // entries above this key; nil starts at the first
	limit int    // at most this many; 0 for all
}

type stats struct {
	InjectedTxs    uint64 `json:"injected_txs"`
	ExecutedTxs    uint64 `json:"executed_txs"`
	BlocksProduced uint64 `json:"blocks_produced"`
}

// api serves an executor over HTTP as ev-node's test application does
// (evolve-wire §4.2).
type api struct {
	front *frontend
	pool  Submitter
	state stateReader
	page  int // entries of /store, 0 for all
}

func newHandler(front *frontend, pool Submitter, state stateReader, page int) http.Handler {
	a := &api{front: front, pool: pool, state: state, page: page}
	mux := http.NewServeMux()
	mux.HandleFunc("/tx", only(http.MethodPost, a.submit))
	mux.HandleFunc("/kv", only(http.MethodGet, a.get))
	mux.HandleFunc("/store", only(http.MethodGet, a.store))
	mux.HandleFunc("/stats", only(http.MethodGet, a.stats))
	return mux
}

func only(method string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
			return
		}
		next(w, r)
	}
}

func (a *api) submit(w http.ResponseWriter, r *http.Request) {
	limit := a.front.pool.Largest()
	tx, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			http.Error(w, "Transaction too large, at most "+strconv.Itoa(limit)+" bytes", http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "Failed to read request body", http.StatusBadRequest)
		return
	}
	switch err := a.pool.Submit(r.Context(), tx); {
	case errors.Is(err, ErrEmptyTx):
		http.Error(w, "Empty transaction", http.StatusBadRequest)
	case errors.Is(err, ErrMempoolFull):
		http.Error(w, "Mempool is full, try again later", http.StatusServiceUnavailable)
	case err != nil && !errors.Is(err, ErrDuplicateTx): // queued already is what the sender wanted
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "Transaction accepted") // the sender may be gone
	}
}

func (a *api) get(w http.ResponseWriter, r *http.Request) {
	key := r.URL.Query().Get("key")
	if key == "" {
		http.Error(w, "Missing key parameter", http.StatusBadRequest)
		return
	}
	value, found, err := a.state.lookup([]byte(key))
	switch {
	case err != nil:
		a.front.log.Warn("state read failed", zap.Error(err))
		http.Error(w, "Failed to retrieve key", http.StatusInternalServerError)
	case !found:
		http.Error(w, "Key not found", http.StatusNotFound)
	default:
		// Values are anybody's bytes: never let a browser guess that they are HTML.
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(value) //nolint:gosec // plain text by the headers above
	}
}

func (a *api) store(w http.ResponseWriter, r *http.Request) {
	sel := listRange{limit: a.page}
	if after := r.URL.Query().Get("after"); after != "" {
		sel.after = []byte(after)
	}
	if s := r.URL.Query().Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			http.Error(w, "Invalid limit parameter, want a positive number", http.StatusBadRequest)
			return
		}
		if sel.limit == 0 || n < sel.limit {
			sel.limit = n
		}
	}
	w.Header().Set("Content-Type", "application/json")
	out := &objectWriter{w: bufio.NewWriter(w)}
	if err := a.state.list(r.Context(), sel, out.add); err != nil {
		// The status line may be out: the missing end of the object tells the client.
		a.front.log.Warn("state listing failed", zap.Error(err))
		return
	}
	_ = out.close()
}

func (a *api) stats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a.front.stats())
}

// objectWriter streams a JSON object of strings, in the form encoding/json
// gives a map.
type objectWriter struct {
	w    *bufio.Writer
	some bool
}

func (o *objectWriter) add(key, value []byte) error {
	k, err := json.Marshal(string(key))
	if err != nil {
		return err
	}
	v, err := json.Marshal(string(value))
	if err != nil {
		return err
	}
	sep := byte('{')
	if o.some {
		sep = ','
	}
	o.some = true
	_ = o.w.WriteByte(sep) // bufio keeps the first error for Flush and the next Write
	_, _ = o.w.Write(k)
	_ = o.w.WriteByte(':')
	_, err = o.w.Write(v)
	return err
}

func (o *objectWriter) close() error {
	end := "}\n"
	if !o.some {
		end = "{}\n"
	}
	if _, err := o.w.WriteString(end); err != nil {
		return err
	}
	return o.w.Flush()
}
