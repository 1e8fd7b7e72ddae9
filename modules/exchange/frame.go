package exchange

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tandem-node/tandem/modules/block"
)

// Limits of the range protocol (evolve-wire §5.5).
const (
	maxItems        = 64   // per request
	maxRequestBytes = 1024 // a hash and two numbers
)

const (
	statusOK       = 1
	statusNotFound = 2
)

var (
	errNotFound  = errors.New("peer does not have it")
	errMalformed = errors.New("malformed message")
)

// request is p2p.pb.HeaderRequest. One of origin and hash is set; origin 0 asks
// for the head.
type request struct {
	origin    uint64
	hash      []byte
	hasOrigin bool
	hasHash   bool
	amount    uint64
}

// appendFrame appends the request with its length in front.
func (r request) appendFrame(b []byte) []byte {
	m := make([]byte, 0, 64)
	if r.hasHash {
		m = protowire.AppendTag(m, 2, protowire.BytesType)
		m = protowire.AppendBytes(m, r.hash)
	} else {
		// The oneof must be there even when it is 0.
		m = protowire.AppendTag(m, 1, protowire.VarintType)
		m = protowire.AppendVarint(m, r.origin)
	}
	m = protowire.AppendTag(m, 3, protowire.VarintType)
	m = protowire.AppendVarint(m, r.amount)
	return protowire.AppendBytes(b, m)
}

func decodeRequest(b []byte) (request, error) {
	var r request
	err := fields(b, func(num protowire.Number, v uint64, bytes []byte) {
		switch {
		case num == 1 && bytes == nil:
			r.origin, r.hasOrigin, r.hasHash = v, true, false
		case num == 2 && bytes != nil:
			r.hash, r.hasHash, r.hasOrigin = bytes, true, false
		case num == 3 && bytes == nil:
			r.amount = v
		}
	})
	return r, err
}

// appendResponse appends a p2p.pb.HeaderResponse with its length in front, all
// but the body's own bytes, which go between the two parts.
func appendResponse(b []byte, body int) (head []byte, tail [2]byte) {
	tail = [2]byte{2 << 3, statusOK}
	if body == 0 {
		return append(b, 2), [2]byte{2 << 3, statusNotFound}
	}
	size := protowire.SizeTag(1) + protowire.SizeBytes(body) + len(tail)
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // a size is not negative
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(body)), tail //nolint:gosec // a length is not negative
}

// decodeResponse returns the body, which aliases b.
func decodeResponse(b []byte) ([]byte, error) {
	var (
		body   []byte
		status uint64
	)
	err := fields(b, func(num protowire.Number, v uint64, bytes []byte) {
		switch {
		case num == 1 && bytes != nil:
			body = bytes
		case num == 2 && bytes == nil:
			status = v
		}
	})
	switch {
	case err != nil:
		return nil, err
	case status == statusNotFound:
		return nil, errNotFound
	case status != statusOK:
		return nil, fmt.Errorf("status %d: %w", status, errMalformed)
	}
	return body, nil
}

// fields calls each for every varint field (bytes is nil) and every bytes field
// (bytes is not nil) of a message.
func fields(b []byte, each func(num protowire.Number, v uint64, bytes []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				each(num, v, nil)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 {
				each(num, 0, slices.Clip(v))
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
	}
	return nil
}

// readFrame reads one frame of at most limit bytes into buf, which grows with
// what arrives and not with what is announced. room, when not nil, is asked before
// it grows. The end of the stream before a frame is io.EOF.
func readFrame(r *bufio.Reader, buf []byte, limit int, room func(int) error) ([]byte, error) {
	const step = 256 << 10
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return buf, err //nolint:wrapcheck // io.EOF must stay visible
	}
	if size > uint64(limit) { //nolint:gosec // limits are positive
		return buf, fmt.Errorf("frame of %d bytes, at most %d allowed: %w", size, limit, block.ErrTooLarge)
	}
	buf = buf[:0]
	for left := int(size); left > 0; { //nolint:gosec // bounded above
		n := min(left, max(step, cap(buf)-len(buf)))
		from := len(buf)
		if room != nil {
			if err := room(n); err != nil {
				return buf, err
			}
		}
		if cap(buf)-from < n {
			grown := make([]byte, from, min(from+left, max(2*cap(buf), from+n)))
			copy(grown, buf)
			buf = grown
		}
		buf = buf[:from+n]
		if _, err := io.ReadFull(r, buf[from:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return buf, fmt.Errorf("frame of %d bytes: %w", size, err)
		}
		left -= n
	}
	return buf, nil
}

// buffers are what one stream needs to read and write frames.
type buffers struct {
	r    *bufio.Reader
	w    *bufio.Writer
	body []byte
}

func (b *buffers) reader(r io.Reader) *bufio.Reader {
	if b.r == nil {
		b.r = bufio.NewReaderSize(r, 32<<10)
	} else {
		b.r.Reset(r)
	}
	return b.r
}

func (b *buffers) writer(w io.Writer) *bufio.Writer {
	if b.w == nil {
		b.w = bufio.NewWriterSize(w, 64<<10)
	} else {
		b.w.Reset(w)
	}
	return b.w
}

// release cuts the ties to a stream and gives up buffers of rare sizes.
func (b *buffers) release() {
	const keep = 1 << 20
	if b.r != nil {
		b.r.Reset(nil)
	}
	if b.w != nil {
		b.w.Reset(nil)
	}
	if cap(b.body) > keep {
		b.body = nil
	}
}
