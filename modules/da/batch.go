package da

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// BatchReader is implemented by clients that can read several heights with one
// request.
type BatchReader interface {
	// BlobsAt reads the namespaces at each of the heights, as Blobs does, and
	// returns one reply per height, in their order. An error means that there is
	// no reply at all; it says nothing of the heights, nor whether the endpoint
	// takes such requests.
	BlobsAt(ctx context.Context, heights []uint64, namespaces ...Namespace) ([]Reply, error)
}

// Reply is what Blobs would have returned for one height.
type Reply struct {
	Blobs []Blob
	Err   error
}

var _ BatchReader = (*Celestia)(nil)

// errBatch means that an endpoint does not answer a list of calls with a list.
var errBatch = errors.New("the endpoint does not take lists of calls")

// BlobsAt sends the calls of all heights as one JSON-RPC list. Endpoints make
// the calls of a list one after the other.
func (c *Celestia) BlobsAt(ctx context.Context, heights []uint64, namespaces ...Namespace) ([]Reply, error) {
	namespaces = distinct(namespaces)
	req := request{method: methodGetAll, timeout: c.cfg.ReadTimeout}
	last := c.nextID.Add(uint64(len(heights)))
	first := last - uint64(len(heights)) + 1
	list := []byte{'['}
	for i, height := range heights {
		if height == 0 || len(namespaces) == 0 {
			return nil, fmt.Errorf("%s: %w: height is equal to 0, or nothing is asked for", methodGetAll, ErrRejected)
		}
		if i > 0 {
			list = append(list, ',')
		}
		list = appendCall(list, first+uint64(i), methodGetAll, getAllParams(height, namespaces))
	}
	body, status, err := c.send(ctx, req, append(list, ']'))
	if err != nil {
		return nil, err
	}
	defer body.done()
	raw := bytes.TrimSpace(body.Bytes())
	if len(raw) == 0 || raw[0] != '[' {
		return nil, fmt.Errorf("%s (HTTP %d): %w: %w", methodGetAll, status, ErrUnavailable, errBatch)
	}
	var answers []struct {
		answer[[]wireBlob]

		ID number `json:"id"`
	}
	if err := json.Unmarshal(raw, &answers); err != nil {
		return nil, fmt.Errorf("%s: malformed answer (HTTP %d): %w: %w", methodGetAll, status, ErrUnavailable, err)
	}
	replies := make([]Reply, len(heights))
	for i, height := range heights {
		replies[i].Err = fmt.Errorf("%s: %w: no answer for height %d", methodGetAll, ErrUnavailable, height)
	}
	for i := range answers {
		if at := uint64(answers[i].ID) - first; at < uint64(len(replies)) { // an id below first wraps around
			replies[at] = c.reply(&answers[i].answer, namespaces)
		}
	}
	return replies, nil
}

func (c *Celestia) reply(a *answer[[]wireBlob], namespaces []Namespace) Reply {
	if a.Error == nil {
		blobs, err := c.checkAll(a.Result, namespaces)
		return Reply{Blobs: blobs, Err: err}
	}
	err := newRPCError(methodGetAll, a.Error.Code, a.Error.Message, false)
	if errors.Is(err, errNotFound) {
		return Reply{}
	}
	return Reply{Err: err}
}

// checkAll keeps the blobs that pass check.
func (c *Celestia) checkAll(wire []wireBlob, namespaces []Namespace) ([]Blob, error) {
	blobs := make([]Blob, 0, len(wire))
	for i := range wire {
		b, ok, err := c.check(&wire[i], namespaces)
		if err != nil {
			return nil, err
		}
		if ok {
			blobs = append(blobs, b)
		}
	}
	return blobs, nil
}

const methodGetAll = "blob.GetAll"

// getAllParams is the parameter array of blob.GetAll.
func getAllParams(height uint64, namespaces []Namespace) []byte {
	const perNamespace = 48
	params := append(make([]byte, 0, (len(namespaces)+1)*perNamespace), '[')
	params = append(strconv.AppendUint(params, height, 10), ',', '[')
	for i, ns := range namespaces {
		if i > 0 {
			params = append(params, ',')
		}
		params = appendBase64(params, ns[:])
	}
	return append(params, ']', ']')
}

// appendCall appends one JSON-RPC call.
func appendCall(buf []byte, id uint64, method string, params []byte) []byte {
	buf = append(buf, `{"jsonrpc":"2.0","id":`...)
	buf = strconv.AppendUint(buf, id, 10)
	buf = append(buf, `,"method":"`...)
	buf = append(buf, method...)
	buf = append(buf, `","params":`...)
	buf = append(buf, params...)
	return append(buf, '}')
}
