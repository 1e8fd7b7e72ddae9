package da

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// Names of go-jsonrpc's channel protocol.
const (
	frameValue = "xrpc.ch.val"
	frameClose = "xrpc.ch.close"
)

// maxEventBytes bounds one event: a header grows with validators and square.
const maxEventBytes = 8 << 20

// errNoStream is the class of an endpoint without a subscription method.
var errNoStream = errors.New("no such stream")

// Watch subscribes to new headers on a connection of its own. The channel holds
// only the newest height: a slow reader misses the ones between. It is closed
// when ctx ends, when the endpoint ends the stream, and after WatchTimeout
// without an event, for a stalled layer is silent and not an error. The caller
// subscribes again, and reads all heights by itself: the stream has gaps.
func (c *Celestia) Watch(ctx context.Context) (<-chan uint64, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	err = c.subscribe(ctx, conn, "header.Subscribe", "[]")
	if errors.Is(err, errNoStream) {
		// Some endpoints have blob streams only. A namespace nobody uses gives one
		// small event per height there.
		quiet := quietNamespace()
		params := string(appendBase64([]byte{'['}, quiet[:])) + "]"
		err = c.subscribe(ctx, conn, "blob.Subscribe", params)
	}
	if err != nil {
		_ = conn.CloseNow() // refused: there is nothing to say goodbye to
		return nil, err
	}
	heights := make(chan uint64, 1)
	go c.pump(ctx, conn, heights)
	return heights, nil
}

// quietNamespace is subscribed to for its heights alone.
func quietNamespace() Namespace { return NamespaceOf("tandem: no blobs here") }

// dial opens a WebSocket connection.
func (c *Celestia) dial(ctx context.Context) (*websocket.Conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, c.cfg.HeadTimeout)
	defer cancel()
	opts := &websocket.DialOptions{HTTPClient: c.client, HTTPHeader: http.Header{}}
	if c.cfg.AuthToken != "" {
		opts.HTTPHeader.Set("Authorization", "Bearer "+c.cfg.AuthToken)
	}
	conn, resp, err := websocket.Dial(dialCtx, c.wsURL, opts) //nolint:bodyclose // the library closes it
	if err == nil {
		conn.SetReadLimit(maxEventBytes)
		return conn, nil
	}
	req := request{method: "websocket", timeout: c.cfg.HeadTimeout}
	if resp != nil {
		// The library has read and closed what there is of the body.
		return nil, plainError(req, resp.StatusCode, "")
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return nil, transportError(ctx, failure{req: req, late: dialCtx.Err() != nil, err: err})
}

// subscribe asks for a stream and waits for the answer.
func (c *Celestia) subscribe(ctx context.Context, conn *websocket.Conn, method, params string) error {
	subCtx, cancel := context.WithTimeout(ctx, c.cfg.HeadTimeout)
	defer cancel()
	req := request{method: method, params: []byte(params), timeout: c.cfg.HeadTimeout}
	fail := func(err error) error {
		return transportError(ctx, failure{req: req, late: subCtx.Err() != nil, err: err})
	}
	if err := conn.Write(subCtx, websocket.MessageText, c.envelope(req)); err != nil {
		return fail(err)
	}
	_, frame, err := conn.Reader(subCtx)
	if err != nil {
		return fail(err)
	}
	in := newScanner(frame, maxEventBytes)
	ans := readAnswer(in, func() struct{} {
		in.skip()
		return struct{}{}
	})
	switch in.end(); {
	case errors.Is(in.err, errSyntax):
		return fmt.Errorf("%s: malformed answer: %w: %w", method, ErrUnavailable, in.err)
	case in.err != nil:
		return fail(in.err)
	case ans.err == nil:
		return nil
	}
	err = newRPCError(method, ans.err.code, ans.err.message, false)
	if ans.err.code == codeMethodNotFound {
		return fmt.Errorf("%w: %w", errNoStream, err)
	}
	return err
}

// pump hands heights over until the stream ends in any way.
func (c *Celestia) pump(ctx context.Context, conn *websocket.Conn, heights chan uint64) {
	defer close(heights)
	defer func() { _ = conn.CloseNow() }() // the stream is over, whatever this says
	for {
		height, ok := c.nextEvent(ctx, conn)
		if !ok {
			return
		}
		if height == 0 {
			continue
		}
		offer(heights, height)
	}
}

// nextEvent reads one frame. Height 0 is a frame that says nothing.
func (c *Celestia) nextEvent(ctx context.Context, conn *websocket.Conn) (height uint64, ok bool) {
	readCtx, cancel := context.WithTimeout(ctx, c.cfg.WatchTimeout)
	defer cancel()
	_, frame, err := conn.Reader(readCtx)
	if err != nil {
		return 0, false
	}
	return decodeEvent(newScanner(frame, maxEventBytes))
}

// decodeEvent reads the height out of a frame. It is false when the stream ended.
func decodeEvent(in *scanner) (height uint64, ok bool) {
	var event wireHead
	method, n := "", 0
	in.object(func(key string) {
		switch key {
		case "method":
			method = in.text(maxName)
		case "params":
			in.array(func() {
				if n++; n == 2 && in.peek() == '{' { // behind the number of the channel
					event = in.header()
				} else {
					in.skip()
				}
			})
		default:
			in.skip()
		}
	})
	in.end()
	if in.err != nil || method == frameClose {
		return 0, false
	}
	h, err := event.head()
	if method != frameValue || err != nil {
		return 0, true
	}
	return h.Height, true
}
