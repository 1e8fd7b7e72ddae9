package exchange

import (
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// steadyBytes is how much has to move in each patience: a trickle is not progress.
const steadyBytes = 128 << 10

// steady is a stream whose deadlines are renewed by progress, so that what is large
// or far away gets the time it needs, and what stands still ends.
type steady struct {
	stream   network.Stream
	patience time.Duration
	got      *atomic.Int64 // counts what was read; may be nil
	sent     *atomic.Int64 // counts what was written; may be nil

	read, written int // since the deadline was renewed
}

// start sets both deadlines.
func (m *steady) start() error {
	return m.stream.SetDeadline(time.Now().Add(m.patience)) //nolint:wrapcheck // callers say what it is
}

// Read is io.Reader.
func (m *steady) Read(b []byte) (int, error) {
	n, err := m.stream.Read(b)
	if m.got != nil {
		m.got.Add(int64(n))
	}
	if m.read += n; m.read >= steadyBytes {
		m.read = 0
		_ = m.stream.SetReadDeadline(time.Now().Add(m.patience))
	}
	return n, err //nolint:wrapcheck // io.EOF must stay visible
}

// Write is io.Writer. It writes in pieces, as progress shows only between them.
func (m *steady) Write(b []byte) (done int, err error) {
	const piece = 64 << 10
	for len(b) > 0 && err == nil {
		var n int
		n, err = m.stream.Write(b[:min(len(b), piece)])
		b, done = b[n:], done+n
		if m.sent != nil {
			m.sent.Add(int64(n))
		}
		if m.written += n; m.written >= steadyBytes {
			m.written = 0
			_ = m.stream.SetWriteDeadline(time.Now().Add(m.patience))
		}
	}
	return done, err //nolint:wrapcheck // callers say what they wrote
}
