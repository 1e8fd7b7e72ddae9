package exchange

import (
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
)

// piped is a stream over a pipe: it has deadlines and no buffer.
type piped struct {
	network.Stream

	conn net.Conn
}

func (p piped) Read(b []byte) (int, error)         { return p.conn.Read(b) }
func (p piped) Write(b []byte) (int, error)        { return p.conn.Write(b) }
func (p piped) SetDeadline(t time.Time) error      { return p.conn.SetDeadline(t) }
func (p piped) SetReadDeadline(t time.Time) error  { return p.conn.SetReadDeadline(t) }
func (p piped) SetWriteDeadline(t time.Time) error { return p.conn.SetWriteDeadline(t) }

// What moves gets the time it needs, far beyond one patience; what does not move, or
// trickles, ends after it, in both directions.
func TestTorture_DeadlinesFollowProgress(t *testing.T) {
	const patience = 8 * time.Second
	for name, tc := range map[string]struct {
		piece int // bytes the other side moves per second
		size  int
		ends  bool // in time
	}{
		"slow link":          {piece: 32 << 10, size: 4500 << 10},
		"a byte per second":  {piece: 1, size: 4500 << 10, ends: true},
		"nothing":            {size: 4500 << 10, ends: true},
		"a little less":      {piece: 15 << 10, size: 4500 << 10, ends: true},
		"small and at once":  {piece: 100, size: 100},
		"below one patience": {piece: 20, size: 100},
	} {
		run := func(t *testing.T, mine func(*steady) error, theirs func(net.Conn)) {
			t.Helper()
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				link := &steady{stream: piped{conn: a}, patience: patience}
				require.NoError(t, link.start())
				over := make(chan struct{})
				go func() { defer close(over); theirs(b) }()
				began := time.Now()
				err := mine(link)
				if tc.ends {
					require.ErrorIs(t, err, os.ErrDeadlineExceeded)
					require.True(t, timedOut(err))
					require.LessOrEqual(t, time.Since(began), 2*patience)
				} else {
					require.NoError(t, err)
				}
				_ = a.Close()
				_ = b.Close()
				<-over
			})
		}
		t.Run(name+", written", func(t *testing.T) {
			run(t, func(m *steady) error {
				_, err := m.Write(make([]byte, tc.size))
				return err
			}, func(c net.Conn) {
				for {
					time.Sleep(time.Second)
					if _, err := io.CopyN(io.Discard, c, int64(tc.piece)); err != nil || tc.piece == 0 {
						return
					}
				}
			})
		})
		t.Run(name+", read", func(t *testing.T) {
			run(t, func(m *steady) error {
				_, err := io.ReadFull(m, make([]byte, tc.size))
				return err
			}, func(c net.Conn) {
				for left := tc.size; left > 0 && tc.piece > 0; left -= tc.piece {
					time.Sleep(time.Second)
					if _, err := c.Write(make([]byte, min(tc.piece, left))); err != nil {
						return
					}
				}
			})
		})
	}
}
