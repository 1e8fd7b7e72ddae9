package stream

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxItems is the most a range request may ask for.
const maxItems = 64

// Request is what a node asks: origin 0 is for the head.
type Request struct{ Origin, Amount uint64 }

// Responder answers one request. It owns the stream.
type Responder func(r Request, s network.Stream)

// Serve answers the range requests of a kind from now on.
func (p *Peer) Serve(k Kind, respond Responder) {
	p.Host.SetStreamHandler(p.Protocol(k), func(s network.Stream) {
		r, ok := readRequest(s)
		if !ok {
			_ = s.Reset()
			return
		}
		respond(r, s)
	})
}

// Heads answers requests for the head by one responder and ranges by another.
func Heads(head, ranges Responder) Responder {
	return func(r Request, s network.Stream) {
		if r.Origin == 0 {
			head(r, s)
			return
		}
		ranges(r, s)
	}
}

// Honest serves bodies; the first is that of height from. Its head is the last.
func Honest(from uint64, bodies ...[]byte) Responder {
	return func(r Request, s network.Stream) {
		defer func() { _ = s.Close() }()
		end := from + uint64(len(bodies))
		at, to := r.Origin, min(r.Origin+r.Amount, end)
		if at == 0 {
			at, to = end-1, end
		}
		if at < from || at >= to {
			_, _ = s.Write(notFound())
			return
		}
		for ; at < to; at++ {
			if _, err := s.Write(Frame(bodies[at-from])); err != nil {
				return
			}
		}
	}
}

// Claim tells that a body is the head and has nothing else.
func Claim(body []byte) Responder {
	return Heads(
		func(_ Request, s network.Stream) { _, _ = s.Write(Frame(body)); _ = s.Close() },
		func(_ Request, s network.Stream) { _, _ = s.Write(notFound()); _ = s.Close() },
	)
}

// Garbage answers bytes that are no item.
func Garbage() Responder {
	return func(_ Request, s network.Stream) {
		_, _ = s.Write(Frame([]byte{0xff, 0xff, 0xff}))
		_ = s.Close()
	}
}

// Wrong answers with the same body whatever is asked, as often as asked.
func Wrong(body []byte) Responder {
	return func(r Request, s network.Stream) {
		for range max(r.Amount, 1) {
			if _, err := s.Write(Frame(body)); err != nil {
				return
			}
		}
		_ = s.Close()
	}
}

// Stall announces a frame of a size, sends a part of it and then nothing more
// until the time is over.
func Stall(size, part int, most time.Duration) Responder {
	return func(_ Request, s network.Stream) {
		_, _ = s.Write(binary.AppendUvarint(nil, uint64(max(size, 0))))
		_, _ = s.Write(make([]byte, part))
		<-time.After(most)
		_ = s.Reset()
	}
}

// Endless sends frames of a size for as long as they are taken.
func Endless(size int) Responder {
	return func(_ Request, s network.Stream) {
		frame := Frame(make([]byte, size))
		for {
			if _, err := s.Write(frame); err != nil {
				return
			}
		}
	}
}

// Frame wraps a body as an answer that is fine (evolve-wire §5.5).
func Frame(body []byte) []byte {
	m := protowire.AppendTag(nil, 1, protowire.BytesType)
	m = protowire.AppendBytes(m, body)
	m = protowire.AppendTag(m, 2, protowire.VarintType)
	return protowire.AppendBytes(nil, protowire.AppendVarint(m, 1))
}

func notFound() []byte { return []byte{2, 2 << 3, 2} }

func requestFrame(origin, amount uint64) []byte {
	m := protowire.AppendTag(nil, 1, protowire.VarintType)
	m = protowire.AppendVarint(m, origin)
	m = protowire.AppendTag(m, 3, protowire.VarintType)
	return protowire.AppendBytes(nil, protowire.AppendVarint(m, amount))
}

func readRequest(s network.Stream) (r Request, ok bool) {
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(s)
	size, err := binary.ReadUvarint(in)
	if err != nil || size > 1024 {
		return r, false
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(in, b); err != nil {
		return r, false
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return r, false
		}
		b = b[n:]
		if typ != protowire.VarintType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return r, false
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return r, false
		}
		b = b[n:]
		switch num {
		case 1:
			r.Origin = v
		case 3:
			r.Amount = v
		default:
		}
	}
	return r, true
}
