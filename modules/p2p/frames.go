package p2p

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxFrameFields is how many parts one frame of gossip may have: messages,
// subscriptions, and the entries of its control lists, the longest of which is
// 5,000 ids. Each takes up to 200 bytes once decoded, however short it is on the wire.
const maxFrameFields = 16 << 10

// errFrame is why a stream of gossip was reset.
var errFrame = errors.New("gossip frame")

// guardedHost is the host that pubsub is given. Pubsub decodes a frame as a whole
// before anybody can look at it, so frames whose decoded form is out of proportion
// end while they are read.
type guardedHost struct {
	host.Host

	refused func(peer.ID, error) // must not block
}

// SetStreamHandler implements host.Host.
func (h guardedHost) SetStreamHandler(id protocol.ID, handle network.StreamHandler) {
	h.Host.SetStreamHandler(id, h.guard(handle))
}

// SetStreamHandlerMatch implements host.Host.
func (h guardedHost) SetStreamHandlerMatch(id protocol.ID, match func(protocol.ID) bool, handle network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, match, h.guard(handle))
}

func (h guardedHost) guard(handle network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) { handle(&guardedStream{Stream: s, refused: h.refused}) }
}

// guardedStream counts the parts of each frame that passes.
type guardedStream struct {
	network.Stream

	refused func(peer.ID, error)
	frame   frameCount
}

// Read implements io.Reader.
func (s *guardedStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if bad := s.frame.pass(b[:n]); bad != nil {
		s.refused(s.Conn().RemotePeer(), bad)
		return 0, bad
	}
	return n, err //nolint:wrapcheck // io.EOF must stay visible
}

// level is a message that is being read.
type level struct {
	left uint64 // of its bytes
	list nested
}

// nested names the messages inside a frame whose fields are counted.
type nested uint8

const (
	opaque   nested = iota // its fields are not looked at
	rpc                    // the frame
	controls               // its control message
	entry                  // one list of the control message
)

// frameCount walks over frames as they arrive, in pieces of any size.
type frameCount struct {
	depth  int // levels in use; 0 between frames
	levels [3]level
	fields int
	value  uint64 // of the varint that is being read
	shift  uint
	phase  phase
	kind   nested // of the field that follows the length
	skip   uint64 // bytes to be passed over
}

// phase is what the next byte belongs to.
type phase uint8

const (
	inSize   phase = iota // of a frame
	inTag                 // of a field
	inVarint              // a value that is passed over
	inLength              // of a field of bytes
)

// pass looks at the next bytes and fails at the first that makes a frame too much.
func (f *frameCount) pass(b []byte) error {
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, uint64(len(b)))
			f.skip -= n
			b = b[n:]
			if err := f.consume(n); err != nil {
				return err
			}
			f.leave()
			continue
		}
		done, err := f.varint(b[0])
		b = b[1:]
		if err != nil {
			return err
		}
		if f.phase != inSize {
			if err := f.consume(1); err != nil {
				return err
			}
		}
		if !done {
			continue
		}
		if err := f.take(); err != nil {
			return err
		}
	}
	return nil
}

// varint adds a byte to the number that is being read and reports whether it was
// the last.
func (f *frameCount) varint(b byte) (done bool, err error) {
	if f.shift > 63 {
		return false, fmt.Errorf("%w: a number of more than 64 bits", errFrame)
	}
	f.value |= uint64(b&0x7f) << f.shift
	f.shift += 7
	return b < 0x80, nil
}

// consume accounts for bytes of the message that is being read.
func (f *frameCount) consume(n uint64) error {
	for i := range f.depth {
		if f.levels[i].left < n {
			return fmt.Errorf("%w: a field is longer than its message", errFrame)
		}
		f.levels[i].left -= n
	}
	return nil
}

// take acts on a number that is complete.
func (f *frameCount) take() error {
	v := f.value
	f.value, f.shift = 0, 0
	switch f.phase {
	case inSize:
		f.fields = 0
		f.enter(v, rpc)
	case inTag:
		if err := f.tag(v); err != nil {
			return err
		}
	case inVarint:
		f.phase = inTag
	case inLength:
		f.phase = inTag
		if f.kind == opaque {
			f.skip = v
		} else {
			f.enter(v, f.kind)
		}
	}
	f.leave()
	return nil
}

// tag begins a field.
func (f *frameCount) tag(v uint64) error {
	if f.fields++; f.fields > maxFrameFields {
		return fmt.Errorf("%w: more than %d parts", errFrame, maxFrameFields)
	}
	num, typ := protowire.DecodeTag(v)
	switch typ {
	case protowire.VarintType:
		f.phase = inVarint
	case protowire.BytesType:
		f.phase, f.kind = inLength, inside(f.levels[f.depth-1].list, num)
	case protowire.Fixed32Type:
		f.skip = 4
	case protowire.Fixed64Type:
		f.skip = 8
	case protowire.StartGroupType, protowire.EndGroupType:
		return fmt.Errorf("%w: a group", errFrame)
	default:
		return fmt.Errorf("%w: wire type %d", errFrame, typ)
	}
	return nil
}

// inside names the message in a field.
func inside(list nested, num protowire.Number) nested {
	switch {
	case list == rpc && num == 3:
		return controls
	case list == controls:
		return entry
	}
	return opaque
}

func (f *frameCount) enter(size uint64, list nested) {
	f.levels[f.depth] = level{left: size, list: list}
	f.depth++
	f.phase = inTag
}

// leave ends the messages of which nothing is left.
func (f *frameCount) leave() {
	for f.skip == 0 && f.depth > 0 && f.levels[f.depth-1].left == 0 && f.phase == inTag {
		f.depth--
	}
	if f.depth == 0 {
		f.phase = inSize
	}
}
