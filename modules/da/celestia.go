package da

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
)

// Celestia is the client of one Celestia node. Calls go over HTTP; each Watch
// has a WebSocket connection of its own.
type Celestia struct {
	cfg     Config
	httpURL string
	wsURL   string
	options []byte
	client  *http.Client
	answers *allowance
	nextID  atomic.Uint64

	calls, failures atomic.Uint64
	forged          atomic.Uint64
	dropped         drops
}

var _ Client = (*Celestia)(nil)

// drops counts blobs that were not handed over, by reason.
type drops struct{ size, version atomic.Uint64 }

// Stats are counters since the client was made.
type Stats struct {
	// Calls is the number of calls, Failures of those without any answer.
	Calls, Failures uint64
	// DroppedSize counts blobs over MaxBlobBytes, DroppedVersion those of an unknown
	// share version.
	DroppedSize, DroppedVersion uint64
	// Forged counts answers refused because of a blob that no honest endpoint sends.
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
		client:  newClient(),
	}, nil
}

// Close drops idle connections. Calls in flight go on.
func (c *Celestia) Close() {
	c.client.CloseIdleConnections()
}

// Stats returns the counters.
func (c *Celestia) Stats() Stats {
	return Stats{
		Calls:          c.calls.Load(),
		Failures:       c.failures.Load(),
		DroppedSize:    c.dropped.size.Load(),
		DroppedVersion: c.dropped.version.Load(),
		Forged:         c.forged.Load(),
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
	if h.Height == 0 {
		return Head{}, fmt.Errorf("header.GetByHeight: %w: it has no block yet", ErrUnavailable)
	}
	if h.Height != height {
		return Head{}, fmt.Errorf("header.GetByHeight: %w: asked for height %d, got %d", ErrDishonest, height, h.Height)
	}
	return h, nil
}

func (c *Celestia) header(ctx context.Context, req request) (Head, error) {
	return call(ctx, c, req, func(r *reply) Head {
		wire := r.header()
		h, err := wire.head()
		if err != nil {
			r.fail(err)
		}
		return h
	})
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

// Blobs reads all namespaces in one call. A blob that is larger than MaxBlobBytes
// or has an unknown share version is left out and counted in Stats: nothing
// anyone posts makes a height unreadable. What no poster can cause was made up or
// changed by the endpoint: a commitment that is missing or not that of the bytes,
// an empty blob, one of a namespace that was not asked for. The answer is
// ErrDishonest as a whole then, for it may have hidden something.
func (c *Celestia) Blobs(ctx context.Context, height uint64, namespaces ...Namespace) ([]Blob, error) {
	if height == 0 {
		return nil, fmt.Errorf("%s: %w: height is equal to 0", methodGetAll, ErrRejected)
	}
	namespaces = distinct(namespaces)
	if len(namespaces) == 0 {
		return nil, nil
	}
	req := request{method: methodGetAll, params: getAllParams(height, namespaces), timeout: c.cfg.ReadTimeout}
	list, err := call(ctx, c, req, func(r *reply) blobList { return c.blobs(r, namespaces) })
	switch {
	case errors.Is(err, errNotFound):
		return nil, nil
	case err != nil:
		return nil, c.futureOr(ctx, height, err)
	}
	return list.blobs, list.lie
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

// Submit posts the blobs with share version 0 in one transaction.
func (c *Celestia) Submit(ctx context.Context, ns Namespace, blobs [][]byte) (uint64, error) {
	const method = "blob.Submit"
	params, err := c.submission(ns, blobs)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", method, err)
	}
	height, err := call(ctx, c, request{method: method, params: params, timeout: c.cfg.RequestTimeout, submit: true},
		func(r *reply) uint64 { return r.number() })
	if err != nil {
		return 0, err
	}
	if height == 0 {
		return 0, fmt.Errorf("%s: %w: answered without a height", method, ErrUnknown)
	}
	return height, nil
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
