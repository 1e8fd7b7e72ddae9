package da

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/celestiaorg/go-square/v3/share"
)

// Celestia is the client of one Celestia node. Calls go over HTTP; each Watch
// has a WebSocket connection of its own.
type Celestia struct {
	cfg     Config
	httpURL string
	wsURL   string
	options []byte
	client  *http.Client
	socket  *http.Client // HTTP/1.1 only, as WebSocket needs
	buffers sync.Pool
	answers *allowance
	nextID  atomic.Uint64

	calls, failures atomic.Uint64
	forged          atomic.Uint64
	dropped         drops
}

var _ Client = (*Celestia)(nil)

// drops counts blobs that were not handed over, by reason.
type drops struct{ namespace, size, version atomic.Uint64 }

// Stats are counters since the client was made.
type Stats struct {
	// Calls is the number of calls, Failures of those without any answer.
	Calls, Failures uint64
	// DroppedNamespace counts blobs of a namespace that was not asked for,
	// DroppedSize empty ones and those over MaxBlobBytes, DroppedVersion those of
	// an unknown share version.
	DroppedNamespace, DroppedSize, DroppedVersion uint64
	// Forged counts answers refused because of a commitment that is not that of
	// the bytes it came with.
	Forged uint64
}

// NewCelestia makes a client of the endpoint at a URL; cfg says the rest. It
// connects with the first call.
func NewCelestia(address string, cfg Config) (*Celestia, error) {
	cfg.Addresses = []string{address}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	u, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	options, err := parseSubmitOptions(cfg.SubmitOptions)
	if err != nil {
		return nil, err
	}
	web, socket := *u, *u
	switch u.Scheme {
	case "http", "ws":
		web.Scheme, socket.Scheme = "http", "ws"
	default:
		web.Scheme, socket.Scheme = "https", "wss"
	}
	return &Celestia{
		cfg:     cfg,
		httpURL: web.String(),
		wsURL:   socket.String(),
		options: options,
		answers: newAllowance(cfg.AnswerBytes),
		client:  &http.Client{Transport: newTransport(true)},
		socket:  &http.Client{Transport: newTransport(false)},
	}, nil
}

// Close drops idle connections. Calls in flight go on.
func (c *Celestia) Close() {
	c.client.CloseIdleConnections()
	c.socket.CloseIdleConnections()
}

// Stats returns the counters.
func (c *Celestia) Stats() Stats {
	return Stats{
		Calls:            c.calls.Load(),
		Failures:         c.failures.Load(),
		DroppedNamespace: c.dropped.namespace.Load(),
		DroppedSize:      c.dropped.size.Load(),
		DroppedVersion:   c.dropped.version.Load(),
		Forged:           c.forged.Load(),
	}
}

// Head returns the newest header the endpoint knows of.
func (c *Celestia) Head(ctx context.Context) (Head, error) {
	return c.header(ctx, request{method: "header.NetworkHead", params: []byte("[]"), timeout: c.cfg.HeadTimeout})
}

// HeaderAt returns the header at a height. The endpoint lets a question for the
// height right above its head wait, so that call may last for the read timeout.
func (c *Celestia) HeaderAt(ctx context.Context, height uint64) (Head, error) {
	if height == 0 {
		return Head{}, fmt.Errorf("header.GetByHeight: %w: height is equal to 0", ErrRejected)
	}
	params := append(strconv.AppendUint([]byte{'['}, height, 10), ']')
	h, err := c.header(ctx, request{method: "header.GetByHeight", params: params, timeout: c.cfg.ReadTimeout})
	if err != nil {
		return Head{}, c.futureOr(ctx, height, err)
	}
	if h.Height != height {
		return Head{}, fmt.Errorf("header.GetByHeight: %w: asked for height %d, got %d", ErrUnavailable, height, h.Height)
	}
	return h, nil
}

func (c *Celestia) header(ctx context.Context, req request) (Head, error) {
	wire, err := call[wireHeader](ctx, c, req)
	if err != nil {
		return Head{}, err
	}
	h, err := wire.head()
	if err != nil {
		return Head{}, fmt.Errorf("%s: malformed answer: %w: %w", req.method, ErrUnavailable, err)
	}
	return h, nil
}

// futureOr tells a height that does not exist yet from an endpoint that hangs:
// both are a read without an answer in time. The head decides.
func (c *Celestia) futureOr(ctx context.Context, height uint64, err error) error {
	if !errors.Is(err, errTimeout) {
		return err
	}
	if h, headErr := c.Head(ctx); headErr == nil && h.Height < height {
		return fmt.Errorf("%w: height %d, head %d: %w", ErrFuture, height, h.Height, errTimeout)
	}
	return err
}

// Blobs reads all namespaces in one call. A blob that was not asked for, is
// empty or larger than MaxBlobBytes, or has a share version or signer that is
// not understood is left out and counted in Stats: nothing anyone posts makes a
// height unreadable. A commitment that is not that of the bytes is none of the
// poster's doing, the endpoint made it up or changed the bytes: the answer is
// ErrDishonest as a whole, for it may have hidden something.
func (c *Celestia) Blobs(ctx context.Context, height uint64, namespaces ...Namespace) ([]Blob, error) {
	if height == 0 {
		return nil, fmt.Errorf("%s: %w: height is equal to 0", methodGetAll, ErrRejected)
	}
	namespaces = distinct(namespaces)
	if len(namespaces) == 0 {
		return nil, nil
	}
	wire, err := call[[]wireBlob](ctx, c, request{method: methodGetAll, params: getAllParams(height, namespaces), timeout: c.cfg.ReadTimeout})
	switch {
	case errors.Is(err, errNotFound):
		return nil, nil
	case err != nil:
		return nil, c.futureOr(ctx, height, err)
	}
	return c.checkAll(wire, namespaces)
}

func distinct(namespaces []Namespace) []Namespace {
	out := make([]Namespace, 0, len(namespaces))
	for _, ns := range namespaces {
		if !slices.Contains(out, ns) {
			out = append(out, ns)
		}
	}
	return out
}

// check makes a blob of what the endpoint sent, with a commitment of our own.
// It is false for a blob to leave out.
func (c *Celestia) check(w *wireBlob, asked []Namespace) (Blob, bool, error) {
	if len(w.Namespace) != NamespaceSize || !slices.Contains(asked, Namespace(w.Namespace)) {
		c.dropped.namespace.Add(1)
		return Blob{}, false, nil
	}
	if len(w.Data) == 0 || len(w.Data) > c.cfg.MaxBlobBytes {
		c.dropped.size.Add(1)
		return Blob{}, false, nil
	}
	if w.ShareVersion > share.ShareVersionOne {
		c.dropped.version.Add(1)
		return Blob{}, false, nil
	}
	signer := w.Signer
	if len(signer) == 0 {
		signer = nil
	}
	b := Blob{Namespace: Namespace(w.Namespace), Data: w.Data}
	var err error
	b.Commitment, err = commit(b.Namespace, b.Data, w.ShareVersion, signer)
	if err != nil { // a signer that is none
		c.dropped.version.Add(1)
		return Blob{}, false, nil //nolint:nilerr // left out like an unknown version
	}
	if len(w.Commitment) > 0 && !bytes.Equal(w.Commitment, b.Commitment[:]) {
		c.forged.Add(1)
		return Blob{}, false, fmt.Errorf("%s: %w: a blob of %d bytes came with commitment %x, its bytes have %s",
			methodGetAll, ErrDishonest, len(w.Data), clipBytes(w.Commitment), b.Commitment)
	}
	return b, true, nil
}

// clipBytes shortens what an endpoint sent for an error.
func clipBytes(b []byte) []byte { return b[:min(len(b), len(Commitment{}))] }

// Submit posts the blobs with share version 0 in one transaction.
func (c *Celestia) Submit(ctx context.Context, ns Namespace, blobs [][]byte) (uint64, error) {
	const method = "blob.Submit"
	params, err := c.submission(ns, blobs)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", method, err)
	}
	height, err := call[number](ctx, c, request{method: method, params: params, timeout: c.cfg.RequestTimeout, submit: true})
	if err != nil {
		return 0, err
	}
	if height == 0 {
		return 0, fmt.Errorf("%s: %w: answered without a height", method, ErrUnknown)
	}
	return uint64(height), nil
}

// submission is the parameter array of blob.Submit.
func (c *Celestia) submission(ns Namespace, blobs [][]byte) ([]byte, error) {
	if len(blobs) == 0 {
		return nil, fmt.Errorf("%w: no blobs", ErrRejected)
	}
	total := 0
	for _, data := range blobs {
		total += len(data)
		if len(data) > c.cfg.MaxBlobBytes || total > MaxTxBytes {
			return nil, fmt.Errorf("%w: %d bytes in %d blobs", ErrTooLarge, total, len(blobs))
		}
	}
	const perBlob = 256
	buf := make([]byte, 0, base64.StdEncoding.EncodedLen(total)+perBlob*len(blobs)+len(c.options))
	buf = append(buf, '[', '[')
	for i, data := range blobs {
		commitment, err := Commit(ns, data)
		if err != nil {
			return nil, fmt.Errorf("%w: blob %d: %w", ErrRejected, i, err)
		}
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, `{"namespace":`...)
		buf = appendBase64(buf, ns[:])
		buf = append(buf, `,"data":`...)
		buf = appendBase64(buf, data)
		buf = append(buf, `,"share_version":0,"commitment":`...)
		buf = appendBase64(buf, commitment[:])
		buf = append(buf, `,"index":-1}`...)
	}
	buf = append(buf, ']', ',')
	buf = append(buf, c.options...)
	return append(buf, ']'), nil
}

// appendBase64 appends data as a JSON string of base64.
func appendBase64(dst, data []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}
