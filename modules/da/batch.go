package da

import (
	"context"
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

// BatchClient is a Client that is also a BatchReader.
type BatchClient interface {
	Client
	BatchReader
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
	replies := make([]Reply, len(heights))
	for i, height := range heights {
		replies[i].Err = fmt.Errorf("%s: %w: no answer for height %d", methodGetAll, ErrUnavailable, height)
	}
	err := c.send(ctx, req, append(list, ']'), func(r *reply) error {
		if r.peek() != '[' {
			if r.err != nil {
				return nil //nolint:nilerr // send looks at it
			}
			return fmt.Errorf("%s (HTTP %d): %w: %w", methodGetAll, r.status, ErrUnavailable, errBatch)
		}
		r.array(func() {
			a := readAnswer(r.scanner, func() blobList { return c.blobs(r, namespaces) })
			if at := a.id - first; at < uint64(len(replies)) { // an id below first wraps around
				replies[at] = replyOf(a)
			}
		})
		r.end()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return replies, nil
}

func replyOf(a answer[blobList]) Reply {
	if a.err == nil {
		return Reply{Blobs: a.result.blobs, Err: a.result.lie}
	}
	err := newRPCError(methodGetAll, a.err.code, a.err.message, false)
	if errors.Is(err, errNotFound) {
		return Reply{}
	}
	return Reply{Err: err}
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
